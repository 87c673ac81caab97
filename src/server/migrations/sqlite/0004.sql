-- What sidecars report of themselves: records they lost, and that PostHog's quota is reached.
CREATE TABLE troubles (
    service_id INTEGER NOT NULL REFERENCES services (id),
    kind       TEXT NOT NULL CHECK (kind IN ('losses', 'quota')),
    reason     TEXT NOT NULL, -- of losses
    start_s    INTEGER NOT NULL, -- Unix seconds, of the minute in which it was reported
    records    INTEGER NOT NULL, -- that were lost
    reports    INTEGER NOT NULL, -- that say so
    PRIMARY KEY (service_id, kind, reason, start_s)
) STRICT, WITHOUT ROWID;
CREATE INDEX troubles_time ON troubles (start_s);
