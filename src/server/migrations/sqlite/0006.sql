-- What is new, and where: the first report of each start of a sidecar, the one instance that has a
-- pattern (empty: several, or not known), versions of a service.
ALTER TABLE senders ADD COLUMN first_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE patterns ADD COLUMN instance TEXT NOT NULL DEFAULT '';
-- Minutes in which any report of a team brought records.
CREATE TABLE heard (
    team_id INTEGER NOT NULL REFERENCES teams (id),
    start_s INTEGER NOT NULL,
    PRIMARY KEY (team_id, start_s)
) STRICT, WITHOUT ROWID;
CREATE TABLE service_versions (
    service_id INTEGER NOT NULL REFERENCES services (id),
    version    TEXT NOT NULL,
    first_ms   INTEGER NOT NULL, -- the first record, by the clock of a sidecar
    PRIMARY KEY (service_id, version)
) STRICT, WITHOUT ROWID;
