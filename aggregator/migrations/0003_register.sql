-- The register of models and providers as tables, for joins in SQL and dashboards.
--
-- Filled by `migrate up` from the register compiled into the binary, replaced whole (REPLACE PARTITION from the *_stage table).
-- Number 0 is `unlisted`. The openness of a row of traffic is the row's own: it was decided at the date of the window.

CREATE TABLE IF NOT EXISTS {database}.models
(
    id                UInt32,
    name              String,
    family            String,
    developer         String,
    catalogue_version UInt32
)
ENGINE = MergeTree ORDER BY id
SETTINGS non_replicated_deduplication_window = 0
COMMENT 'Models of the register.';

CREATE TABLE IF NOT EXISTS {database}.models_stage AS {database}.models;

CREATE TABLE IF NOT EXISTS {database}.providers
(
    id                UInt16,
    name              String,
    hosting           Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4),
    catalogue_version UInt32
)
ENGINE = MergeTree ORDER BY id
SETTINGS non_replicated_deduplication_window = 0
COMMENT 'Providers of the register, with the hosting they have when nothing else tells.';

CREATE TABLE IF NOT EXISTS {database}.providers_stage AS {database}.providers;
