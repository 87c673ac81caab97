-- What is new, and where: the first report of each start of a sidecar, the one instance that has a
-- pattern (empty: several, or not known), versions of a service.
ALTER TABLE senders ADD COLUMN first_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE patterns ADD COLUMN instance TEXT NOT NULL DEFAULT '';
-- Minutes in which any report of a team brought records.
CREATE TABLE heard (
    team_id BIGINT NOT NULL REFERENCES teams (id),
    start_s BIGINT NOT NULL,
    PRIMARY KEY (team_id, start_s)
);
CREATE TABLE service_versions (
    service_id BIGINT NOT NULL REFERENCES services (id),
    version    TEXT NOT NULL,
    first_ms   BIGINT NOT NULL, -- the first record, by the clock of a sidecar
    PRIMARY KEY (service_id, version)
);

-- Other servers hear at once that there is something new.
CREATE FUNCTION audit_is_heard() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('lipservice_audit', ''); RETURN NULL; END $$;
CREATE TRIGGER audit_heard AFTER INSERT ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_heard();
