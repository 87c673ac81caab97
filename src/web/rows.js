// ---- rows: what is known of the patterns. All of them come in pieces, because what the server may
// hold for an answer is bounded; after that only the piece that is looked at is asked for again,
// and all from time to time.

const FEW = 200; // patterns that are asked for, until all are wanted
const PIECE = 2048;
const PATTERNS_MS = 5000;
const PATIENCE = 150; // times as long as an answer took: its cost stays below a hundredth

const known = {
  list: [],
  at: new Map(), // key: place in the list
  held: 0, // by the server
  question: '', // that the list answers
  counted: new Map(), // key: {at, received} when it was last counted
  allAt: 0,
  allTook: 0,
  took: 0,

  // How long to wait for the next one.
  pause() {
    return Math.max(PATTERNS_MS, this.took * PATIENCE);
  },

  // `rank`: of the first row that is looked at, in the server's order; negative: they have another.
  async refresh(query, wantsAll, rank) {
    const began = performance.now();
    const question = JSON.stringify([query, wantsAll]);
    const isWhole = question !== this.question || !wantsAll || rank < 0 || began - this.allAt > this.allTook * PATIENCE;
    const from = isWhole ? 0 : Math.floor(rank / PIECE) * PIECE;
    const got = [];
    let piece;
    do {
      piece = await data.ask('patterns', { query: { ...query, limit: wantsAll ? PIECE : FEW, offset: from + got.length || undefined } });
      got.push(...piece.patterns);
    } while (isWhole && wantsAll && piece.patterns.length === PIECE);
    const came = performance.now();
    this.held = piece.patterns_held;
    this.question = question;
    if (isWhole) {
      this.list = [];
      this.at.clear();
      this.allAt = came;
    }
    for (const row of got) this.put(row, query, came);
    this.took = performance.now() - began;
    if (isWhole) this.allTook = this.took;
    return came;
  },

  put(row, { from, to }, now) {
    row.key = `${row.pattern} ${row.severity} ${row.status_class ?? ''} ${row.service}`;
    const place = this.at.get(row.key); // there already: it changed its place between two pieces
    if (place === undefined) this.at.set(row.key, this.list.push(row) - 1);
    else this.list[place] = row;
    const before = this.counted.get(row.key);
    if (from !== undefined) row.per_s = (row.records ?? 0) / Math.max(60, to - from);
    else if (before && now - before.at > 500) row.per_s = (row.received - before.received) / ((now - before.at) / 1000);
    else row.per_s = row.spark?.length > 1 && row.spark.at(-2) > 0 ? row.spark.at(-2) / 60 : undefined;
    this.counted.set(row.key, { at: now, received: row.received });
    if (this.counted.size > 4 * PIECE * 8) this.counted.clear(); // of patterns that are no more
  },
};
