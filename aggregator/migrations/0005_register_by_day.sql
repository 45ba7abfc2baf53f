-- The register by date: which openness and licence a model has on a day, as a table and as a dictionary.
--
-- Counts are stored by model number, so stored traffic is classified anew under a newer register by a query, not by a
-- migration: traffic_reclassified does it. Filled by `migrate up` like the other tables of the register.

CREATE TABLE IF NOT EXISTS {database}.model_periods
(
    model             UInt32 COMMENT 'number in the register, see models',
    valid_from        Date32 COMMENT 'first day; 1900-01-01 where the register names none',
    valid_until       Date32 COMMENT 'last day; 2299-12-31 for the newest period',
    openness          Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5),
    licence           String COMMENT 'of the weights, empty if none is known',
    contested         String COMMENT 'why no class is given, if the facts do not decide one',
    sources           Array(String) COMMENT 'where the facts come from',
    catalogue_version UInt32
)
ENGINE = MergeTree ORDER BY (model, valid_from)
SETTINGS non_replicated_deduplication_window = 0
COMMENT 'Openness of the register''s models by date.';

CREATE TABLE IF NOT EXISTS {database}.model_periods_stage AS {database}.model_periods;

-- dictGet('{database}.model_on_day', 'openness', toUInt64(model), toDate32(day)), likewise name, family, developer, licence.
CREATE OR REPLACE DICTIONARY {database}.model_on_day
(
    model       UInt64,
    valid_from  Date32,
    valid_until Date32,
    name        String DEFAULT 'unlisted',
    family      String DEFAULT '',
    developer   String DEFAULT '',
    openness    String DEFAULT 'unknown',
    licence     String DEFAULT ''
)
PRIMARY KEY model
SOURCE(CLICKHOUSE({dictionary_credentials}QUERY 'SELECT toUInt64(p.model) AS model, p.valid_from AS valid_from, p.valid_until AS valid_until, m.name AS name, m.family AS family, m.developer AS developer, toString(p.openness) AS openness, p.licence AS licence FROM {database}.model_periods AS p INNER JOIN {database}.models AS m ON m.id = p.model'))
LAYOUT(RANGE_HASHED())
RANGE(MIN valid_from MAX valid_until)
LIFETIME(0)
COMMENT 'The register''s models with openness and licence by day.';

-- The rollup under the register of now: openness is what the register says today of the day of the traffic. counted_openness
-- is what was counted. Names outside the register keep what was counted.
CREATE OR REPLACE VIEW {database}.traffic_reclassified AS
SELECT t.hour AS hour, t.environment AS environment, t.vantage AS vantage, t.gateway_product AS gateway_product,
       dictGet('{database}.model_on_day', 'name', toUInt64(t.model), toDate32(t.hour)) AS model,
       dictGet('{database}.model_on_day', 'family', toUInt64(t.model), toDate32(t.hour)) AS family,
       dictGet('{database}.model_on_day', 'developer', toUInt64(t.model), toDate32(t.hour)) AS developer,
       dictGet('{database}.model_on_day', 'licence', toUInt64(t.model), toDate32(t.hour)) AS licence,
       dictGetOrDefault('{database}.model_on_day', 'openness', toUInt64(t.model), toDate32(t.hour), toString(t.openness)) AS openness,
       t.openness AS counted_openness, t.hosting AS hosting, t.operation AS operation, t.choice AS choice,
       t.streaming AS streaming, t.outcome AS outcome,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.traffic_1h AS t;
