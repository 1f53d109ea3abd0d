-- Pushes, uploads, and secrets that are wiped.

ALTER TABLE predictions
    ADD COLUMN kind   text    NOT NULL DEFAULT 'predict' CHECK (kind IN ('predict', 'build')),
    ADD COLUMN secret boolean NOT NULL DEFAULT false, -- its input holds sealed texts, wiped at its end
    ADD COLUMN built  boolean NOT NULL DEFAULT false; -- of kind build: its version was made, once and for all

-- A version is built once at a time; what is pushed twice meanwhile is one push.
CREATE UNIQUE INDEX builds_under_way ON predictions (version)
    WHERE kind = 'build' AND status IN ('starting', 'processing');
DROP INDEX predictions_of_account;
CREATE INDEX predictions_of_account ON predictions (account, created_at DESC, id DESC) WHERE kind = 'predict';

ALTER TABLE versions
    ADD COLUMN pack          text, -- sha256 of the pushed archive; null: a runner offered it from a folder of its own
    ADD COLUMN size          bigint,
    ADD COLUMN logs          text NOT NULL DEFAULT '', -- of the push that made it
    ADD COLUMN setup_log     text NOT NULL DEFAULT '',
    ADD COLUMN setup_seconds double precision,
    ADD COLUMN environment   text,
    ADD COLUMN notes         text[] NOT NULL DEFAULT '{}';
CREATE INDEX versions_of_pack ON versions (pack) WHERE pack IS NOT NULL;

CREATE TABLE files (
    id           text PRIMARY KEY,
    account      integer NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name         text NOT NULL,
    content_type text NOT NULL,
    size         bigint NOT NULL,
    sha256       text NOT NULL,
    md5          text NOT NULL,
    metadata     json NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX files_of_account ON files (account, created_at DESC, id DESC);
CREATE INDEX files_expiring ON files (expires_at);
