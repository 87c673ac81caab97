-- Alerts, and where they are sent.
CREATE TABLE webhooks (
    id         INTEGER PRIMARY KEY,
    team_id    INTEGER NOT NULL REFERENCES teams (id),
    name       TEXT NOT NULL,
    url        TEXT NOT NULL,
    form       TEXT NOT NULL CHECK (form IN ('json', 'slack')),
    secret     TEXT NOT NULL, -- signs what is sent
    is_active  INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_team ON webhooks (team_id);

CREATE TABLE alerts (
    id          INTEGER PRIMARY KEY,
    team_id     INTEGER NOT NULL REFERENCES teams (id),
    type        TEXT NOT NULL,
    service     TEXT NOT NULL,
    signature   TEXT NOT NULL, -- empty: of the service
    severity    TEXT NOT NULL,
    message     TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved')),
    seen        INTEGER NOT NULL, -- looks that found it
    first_ms    INTEGER NOT NULL,
    last_ms     INTEGER NOT NULL,
    notified_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX alerts_open ON alerts (team_id, type, service, signature) WHERE state <> 'resolved';
CREATE INDEX alerts_team ON alerts (team_id, id);

-- One request to one webhook, until it is taken or given up.
CREATE TABLE deliveries (
    id         INTEGER PRIMARY KEY,
    webhook_id INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    body       TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    next_ms    INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed'))
) STRICT;
CREATE INDEX deliveries_due ON deliveries (next_ms) WHERE state = 'pending';
CREATE INDEX deliveries_webhook ON deliveries (webhook_id);
