-- The first tables. Times are Unix milliseconds, but where a name says seconds.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

CREATE TABLE teams (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    is_operator INTEGER NOT NULL DEFAULT 0, -- its admins make teams
    created_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    id         INTEGER PRIMARY KEY,
    team_id    INTEGER NOT NULL REFERENCES teams (id),
    role       TEXT NOT NULL CHECK (role IN ('report', 'read', 'write', 'admin')),
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL UNIQUE, -- of the key, which is nowhere kept
    created_ms INTEGER NOT NULL,
    ends_ms    INTEGER               -- NULL: it does not
) STRICT;
CREATE INDEX keys_team ON keys (team_id, id);

CREATE TABLE services (
    id         INTEGER PRIMARY KEY,
    team_id    INTEGER NOT NULL REFERENCES teams (id),
    name       TEXT NOT NULL,
    is_active  INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL,
    seen_ms    INTEGER NOT NULL, -- the last report
    UNIQUE (team_id, name)
) STRICT;

CREATE TABLE policies (
    id           INTEGER PRIMARY KEY,
    service_id   INTEGER NOT NULL REFERENCES services (id),
    version      INTEGER NOT NULL,
    document     TEXT NOT NULL, -- as it is handed out
    generated_by TEXT NOT NULL,
    is_active    INTEGER NOT NULL,
    created_ms   INTEGER NOT NULL,
    key_id       INTEGER NOT NULL REFERENCES keys (id), -- whose it is
    UNIQUE (service_id, version)
) STRICT;
CREATE UNIQUE INDEX policies_active ON policies (service_id) WHERE is_active = 1;

CREATE TABLE patterns (
    id            INTEGER PRIMARY KEY,
    service_id    INTEGER NOT NULL REFERENCES services (id),
    signature     TEXT NOT NULL, -- empty: all that have no row of their own
    template      TEXT NOT NULL,
    family        TEXT NOT NULL, -- empty: none
    received      INTEGER NOT NULL,
    kept          INTEGER NOT NULL,
    bytes         INTEGER NOT NULL, -- of what was received, as PostHog meters it
    kept_bytes    INTEGER NOT NULL,
    traces        INTEGER NOT NULL,
    debugs        INTEGER NOT NULL,
    infos         INTEGER NOT NULL,
    warns         INTEGER NOT NULL,
    errors        INTEGER NOT NULL,
    fatals        INTEGER NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms  INTEGER NOT NULL,
    UNIQUE (service_id, signature)
) STRICT;

CREATE TABLE counts (
    grain_s    INTEGER NOT NULL, -- 60, 3600 or 86400
    pattern_id INTEGER NOT NULL REFERENCES patterns (id) ON DELETE CASCADE,
    start_s    INTEGER NOT NULL, -- Unix seconds, a multiple of the grain
    received   INTEGER NOT NULL,
    kept       INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    kept_bytes INTEGER NOT NULL,
    PRIMARY KEY (grain_s, pattern_id, start_s)
) STRICT, WITHOUT ROWID;
CREATE INDEX counts_time ON counts (grain_s, start_s);
CREATE INDEX counts_pattern ON counts (pattern_id);

-- The last report of each sender: written with the numbers that it brought.
CREATE TABLE senders (
    service_id INTEGER NOT NULL REFERENCES services (id),
    instance   TEXT NOT NULL,
    boot       TEXT NOT NULL,
    sequence   INTEGER NOT NULL,
    seen_ms    INTEGER NOT NULL,
    PRIMARY KEY (service_id, instance, boot)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    team_id INTEGER NOT NULL,
    key_id  INTEGER NOT NULL, -- who did it; 0: the server itself
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;
CREATE INDEX audit_team ON audit (team_id, id);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
CREATE TRIGGER audit_keeps BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
