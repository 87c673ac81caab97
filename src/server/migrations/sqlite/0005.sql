-- Numbers below `sequence` whose reports are not counted: "3-5,9".
ALTER TABLE senders ADD COLUMN missing TEXT NOT NULL DEFAULT '';
