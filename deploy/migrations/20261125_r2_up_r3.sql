-- All of the API: accounts with tokens that are limited, models that are searched, deployments, trainings, webhooks.

ALTER TABLE accounts
    ADD COLUMN github_url text,
    ADD COLUMN avatar_url text,
    ADD COLUMN creates_per_minute integer CHECK (creates_per_minute >= 0), -- 0: no limit; null: what the settings say
    ADD COLUMN others_per_minute  integer CHECK (others_per_minute >= 0);

ALTER TABLE tokens
    ADD COLUMN id         text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', '') UNIQUE,
    ADD COLUMN hint       text NOT NULL DEFAULT '', -- its first characters, by which its owner knows it
    ADD COLUMN scopes     text[] NOT NULL DEFAULT '{predict,write,admin}',
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN creates_per_minute integer CHECK (creates_per_minute > 0), -- null: what its account may
    ADD COLUMN others_per_minute  integer CHECK (others_per_minute > 0);
CREATE INDEX tokens_of_account ON tokens (account, created_at, id);

-- What was taken of a minute's allowance; gateways take blocks of it, never one at a time.
CREATE UNLOGGED TABLE allowances (
    holder text NOT NULL, -- token:<id> or account:<id>
    kind   text NOT NULL, -- create, other
    minute timestamptz NOT NULL,
    taken  integer NOT NULL,
    PRIMARY KEY (holder, kind)
);

ALTER TABLE models
    ADD COLUMN hardware        text,
    ADD COLUMN cover_image_url text,
    ADD COLUMN weights_url     text,
    ADD COLUMN default_example text, -- a prediction, one of its examples
    ADD COLUMN search tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', translate(owner || ' ' || name, '-_./', '    ')), 'A')
        || setweight(to_tsvector('english', left(coalesce(description, ''), 10000)), 'B')
        || setweight(to_tsvector('english', left(coalesce(readme, ''), 100000)), 'C')) STORED;
CREATE INDEX models_by_words ON models USING gin (search);

CREATE TABLE examples (
    owner      text NOT NULL,
    name       text NOT NULL,
    prediction text NOT NULL REFERENCES predictions ON DELETE CASCADE, -- kept as long as it is an example
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (owner, name, prediction),
    FOREIGN KEY (owner, name) REFERENCES models ON DELETE CASCADE
);
CREATE INDEX examples_of_model ON examples (owner, name, created_at DESC, prediction DESC);
CREATE INDEX examples_of_prediction ON examples (prediction);

ALTER TABLE versions
    ADD COLUMN labels  json NOT NULL DEFAULT '{}', -- what it says of itself, such as openai: chat
    ADD COLUMN base    text, -- of a trained version: the version that was trained
    ADD COLUMN weights text; -- and the key of what came of it in the file store
CREATE INDEX versions_of_base ON versions (base) WHERE base IS NOT NULL;
CREATE INDEX versions_of_weights ON versions (weights) WHERE weights IS NOT NULL;

CREATE TABLE collections (
    slug             text PRIMARY KEY,
    name             text NOT NULL,
    description      text NOT NULL,
    full_description text,
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE collected (
    slug     text NOT NULL REFERENCES collections ON UPDATE CASCADE ON DELETE CASCADE,
    owner    text NOT NULL,
    name     text NOT NULL,
    position integer NOT NULL,
    PRIMARY KEY (slug, owner, name),
    FOREIGN KEY (owner, name) REFERENCES models ON DELETE CASCADE
);

CREATE TABLE deployments (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account    integer NOT NULL REFERENCES accounts ON DELETE CASCADE,
    owner      text NOT NULL,
    name       text NOT NULL,
    newest     integer NOT NULL DEFAULT 1, -- number of its newest release
    serving    integer NOT NULL DEFAULT 1, -- of the release that takes its predictions
    used_at    timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (owner, name)
);
CREATE INDEX deployments_of_account ON deployments (account, created_at DESC, name DESC);
CREATE TABLE releases (
    deployment    integer NOT NULL REFERENCES deployments ON DELETE CASCADE,
    number        integer NOT NULL,
    queue         integer NOT NULL, -- number of the first release that its queue was made for
    model         text NOT NULL,
    version       text NOT NULL,
    hardware      text NOT NULL,
    min_instances integer NOT NULL,
    max_instances integer NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by    integer REFERENCES accounts ON DELETE SET NULL,
    PRIMARY KEY (deployment, number)
);
CREATE INDEX releases_of_version ON releases (version);

ALTER TABLE predictions
    DROP CONSTRAINT predictions_kind_check,
    ADD CONSTRAINT predictions_kind_check CHECK (kind IN ('predict', 'build', 'train')),
    ADD COLUMN deployment      text, -- owner/name
    ADD COLUMN destination     text, -- of a training: the model that its result becomes a version of
    ADD COLUMN webhook         text,
    ADD COLUMN webhook_events  text[], -- which of start, output, logs, completed; null: output and completed
    ADD COLUMN webhook_base    text, -- what its creator called: of the URLs in what the webhook is sent
    ADD COLUMN removed         boolean NOT NULL DEFAULT false, -- input, output and logs are kept no longer
    ADD COLUMN request         bytea; -- hash of the request that made it, of clients that repeat requests by themselves
CREATE INDEX predictions_of_account_web ON predictions (account, created_at DESC, id DESC)
    WHERE kind = 'predict' AND source = 'web';
CREATE INDEX trainings_of_account ON predictions (account, created_at DESC, id DESC) WHERE kind = 'train';
CREATE INDEX predictions_ended ON predictions (source, completed_at)
    WHERE kind = 'predict' AND completed_at IS NOT NULL AND NOT removed;
CREATE INDEX predictions_by_request ON predictions (account, request, created_at) WHERE request IS NOT NULL;

-- When it was last written of its status, for those who were away: the clock of the database, not of a machine.
ALTER TABLE predictions ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE predictions ALTER COLUMN changed_at SET DEFAULT clock_timestamp();
CREATE INDEX predictions_changed ON predictions (account, changed_at) WHERE kind = 'predict';

-- What clients call a request by, so that it is followed once.
CREATE TABLE idempotency (
    account    integer NOT NULL REFERENCES accounts ON DELETE CASCADE,
    key        text NOT NULL,
    request    bytea NOT NULL,
    prediction text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- What is signed with: the newest, and for a while those before it.
CREATE TABLE webhook_secrets (
    account    integer NOT NULL REFERENCES accounts ON DELETE CASCADE,
    key        text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz, -- null: the one in use
    PRIMARY KEY (account, key)
);
CREATE UNIQUE INDEX webhook_secret_in_use ON webhook_secrets (account) WHERE expires_at IS NULL;

CREATE TABLE deliveries (
    id           text PRIMARY KEY, -- msg_…, the same however often it is sent
    account      integer NOT NULL REFERENCES accounts ON DELETE CASCADE,
    prediction   text NOT NULL,
    sequence     bigint GENERATED ALWAYS AS IDENTITY, -- the order among those of one prediction
    event        text NOT NULL CHECK (event IN ('start', 'output', 'logs', 'completed')),
    url          text NOT NULL,
    host         text NOT NULL GENERATED ALWAYS AS (coalesce(lower(substring(url FROM '//([^/?#]*)')), '')) STORED,
    base         text NOT NULL DEFAULT '', -- of the URLs in its body
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed', 'dropped')),
    attempts     integer NOT NULL DEFAULT 0, -- begun; one that nobody ended is not among delivery_attempts
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    since        timestamptz NOT NULL DEFAULT clock_timestamp(), -- when it was first to be sent, or was to be again
    due_at       timestamptz NOT NULL DEFAULT clock_timestamp(), -- while it is being sent: when that is given up
    ended_at     timestamptz
);
CREATE INDEX deliveries_due ON deliveries (host, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_of_prediction ON deliveries (prediction, sequence);
CREATE INDEX deliveries_of_account ON deliveries (account, created_at DESC, id DESC);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;
CREATE TABLE delivery_attempts (
    delivery text NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    number   integer NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    seconds  double precision NOT NULL,
    status   integer, -- of the answer; null: there was none
    error    text,
    PRIMARY KEY (delivery, number)
);
