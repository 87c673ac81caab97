-- Tero's policies, one set a team, and what each has done.
CREATE TABLE tero_sets (
    team_id    BIGINT PRIMARY KEY REFERENCES teams (id),
    version    BIGINT NOT NULL,
    hash       TEXT NOT NULL,
    document   TEXT NOT NULL, -- {"policies": [...]} as it was put
    served     TEXT NOT NULL, -- the same in the form of proto3, as far as that has it
    created_ms BIGINT NOT NULL
);

-- A row for each policy of the set, and none else.
CREATE TABLE tero_statuses (
    team_id   BIGINT NOT NULL REFERENCES teams (id),
    policy_id TEXT NOT NULL,
    hits      BIGINT NOT NULL DEFAULT 0,
    misses    BIGINT NOT NULL DEFAULT 0,
    errors    TEXT NOT NULL DEFAULT '[]', -- the last that were reported
    instance  TEXT NOT NULL DEFAULT '',   -- by which client
    seen_ms   BIGINT,
    PRIMARY KEY (team_id, policy_id)
);
