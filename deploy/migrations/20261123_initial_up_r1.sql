-- The record: what clients read. Inputs and outputs are json, not jsonb, which would reorder their keys.

CREATE TABLE installation (
    key   text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE accounts (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type       text NOT NULL DEFAULT 'user' CHECK (type IN ('user', 'organization')),
    username   text NOT NULL UNIQUE,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
    hash       bytea PRIMARY KEY, -- sha256 of the token, which is random: no salt is needed
    account    integer NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE models (
    owner          text NOT NULL,
    name           text NOT NULL,
    description    text,
    readme         text,
    visibility     text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'private')),
    github_url     text,
    paper_url      text,
    license_url    text,
    latest_version text,
    run_count      bigint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(), -- when its latest version came
    PRIMARY KEY (owner, name)
);
CREATE INDEX models_by_version_time ON models (updated_at, owner, name);
CREATE INDEX models_by_time ON models (created_at, owner, name);

CREATE TABLE versions (
    id             text PRIMARY KEY,
    owner          text NOT NULL,
    name           text NOT NULL,
    pool           text NOT NULL,
    cog_version    text NOT NULL,
    openapi_schema json NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (owner, name) REFERENCES models ON DELETE CASCADE
);
CREATE INDEX versions_of_model ON versions (owner, name, created_at DESC, id DESC);

CREATE TABLE predictions (
    id                  text PRIMARY KEY,
    account             integer NOT NULL REFERENCES accounts,
    model               text NOT NULL,
    version             text NOT NULL,
    pool                text NOT NULL,
    source              text NOT NULL DEFAULT 'api',
    status              text NOT NULL DEFAULT 'starting',
    input               json NOT NULL,
    output              json,
    many                boolean NOT NULL DEFAULT false,
    files               text[] NOT NULL DEFAULT '{}',
    logs                text NOT NULL DEFAULT '',
    error               text,
    metrics             json,
    run                 json, -- the run that the row speaks of: [attempt, start, agent]
    created_at          timestamptz NOT NULL,
    started_at          timestamptz,
    completed_at        timestamptz,
    deadline            timestamptz,
    cancel_requested_at timestamptz,
    attempt             integer NOT NULL DEFAULT 1, -- of its newest message in the jobs stream
    job                 bigint, -- that message's sequence, once the job has waited for a while
    stream              timestamptz, -- when the stream that the sequence counts in was made
    due_at              timestamptz NOT NULL -- when somebody should look whether it is still on its way
) WITH (fillfactor = 70); -- a row is written twice; room for the second keeps it on its page
CREATE INDEX predictions_of_account ON predictions (account, created_at DESC, id DESC);
CREATE INDEX predictions_due ON predictions (due_at) WHERE status IN ('starting', 'processing');
CREATE INDEX predictions_deadline ON predictions (deadline)
    WHERE status IN ('starting', 'processing') AND deadline IS NOT NULL AND cancel_requested_at IS NULL;

-- Events whose prediction nobody knows: kept for a person to look at, never dropped.
CREATE TABLE parked_events (
    subject   text NOT NULL,
    data      bytea NOT NULL,
    reason    text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now()
);
