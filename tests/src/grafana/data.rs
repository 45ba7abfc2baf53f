//! Traffic to ask about: a month of a small fleet, as rows of `ledger` and `reports`, made in ClickHouse from numbers, without chance.
//!
//! Forty collectors with windows of an hour for thirty days, ten with windows of a minute for the last three hours, and three of
//! registered contributors. Every hour each counts closed and open models of several licences, unlisted names, embeddings, failures, and
//! fallbacks; one collector fell silent three days ago, one is late, one has dropped requests, some started anew. What the
//! figures are is computed from these rows, never written down here.

/// Statements that fill `ledger` and `reports` of the database `weighbridge`, which must be migrated. The time is the server's.
pub fn statements() -> Vec<String> {
    let mut all = Vec::new();
    for fleet in [HOURS, MINUTES, REGISTERED] {
        let windows = fleet.windows();
        all.push(format!(
            "INSERT INTO weighbridge.ledger ({LEDGER_COLUMNS}) {}",
            CELLS.replace("{windows}", &windows)
        ));
        all.push(format!(
            "INSERT INTO weighbridge.reports ({REPORT_COLUMNS}) {}",
            REPORTS.replace("{windows}", &windows)
        ));
    }
    all
}

struct Fleet {
    first_collector: u32,
    collectors: u32,
    windows: u32,
    window_s: u32,
    contributor: &'static str,
    environment: &'static str,
}

const ENVIRONMENTS: &str = "multiIf(c % 7 = 6, 'development', c % 5 = 4, 'staging', 'production')";
const NOBODY: &str = "toUUID('00000000-0000-0000-0000-000000000000')";
const HOURS: Fleet = Fleet {
    first_collector: 0,
    collectors: 40,
    windows: 720,
    window_s: 3_600,
    contributor: NOBODY,
    environment: ENVIRONMENTS,
};
const MINUTES: Fleet = Fleet {
    first_collector: 100,
    collectors: 10,
    windows: 180,
    window_s: 60,
    contributor: NOBODY,
    environment: "'production'",
};
/// Fewer than five: what views say about groups of contributors must stay hidden.
const REGISTERED: Fleet = Fleet {
    first_collector: 200,
    collectors: 3,
    windows: 240,
    window_s: 3_600,
    contributor: "reinterpretAsUUID(sipHash128(c, 'contributor'))",
    environment: "'unknown'",
};

impl Fleet {
    /// One row per collector and window: c, w (0 is the newest), window_start and what belongs to them.
    fn windows(&self) -> String {
        let Fleet { first_collector, collectors, windows, window_s, contributor, environment } = self;
        format!(
            "SELECT toUInt32(number % {collectors}) + {first_collector} AS c, toUInt32(intDiv(number, {collectors})) AS w, \
             toDateTime(intDiv(toUInt32(now()), {window_s}) * {window_s} - (w + 1) * {window_s}, 'UTC') AS start, \
             reinterpretAsUUID(sipHash128(c)) AS id, {contributor} AS who, {environment} AS env, \
             arrayElement(['litellm', 'envoy-ai-gateway', 'vllm', 'kong'], c % 4 + 1) AS product, toUInt32({window_s}) AS length, \
             toUInt64(multiIf(c % 10 != 1 OR w >= 30, 1, w > 0, 2, 3)) AS epoch, \
             toUInt64(multiIf(epoch = 1, {windows}, epoch = 2, 30, 1) - 1 - w) AS seq FROM numbers({collectors} * {windows}) WHERE NOT (c = 9 AND w < 72)"
        )
    }
}

const LEDGER_COLUMNS: &str = "window_start, collector_id, boot_epoch, sequence, cell, contributor, window_s, catalogue_version, \
environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, \
requests, attempts, input_tokens, output_tokens, ingested_at";

/// Cells: 0 and 1 closed, 2 and 3 open, 4 unlisted, 5 embeddings, 6 failed attempts at a closed model, 7 the fallbacks that followed them,
/// 8 rate limits, 9 requests that ended in all the other ways, 10 fallbacks to a closed or unlisted model, 11 the failed attempts at an
/// open model before them. Every sixth collector sends little to closed models.
const CELLS: &str = "\
WITH (SELECT groupArray((model, openness)) FROM (SELECT model, toString(openness) AS openness FROM weighbridge.model_periods \
      WHERE valid_from <= today() - 40 AND valid_until > today() AND openness != 'unknown' ORDER BY openness, model LIMIT 4 BY openness)) AS known, \
     k = 4 OR (k = 10 AND c % 2 = 0) AS unlisted, k IN (6, 8, 11) AS unserved \
SELECT start, id, epoch, seq, toUInt16(k), who, length, 2026112301, env, 'gateway', product, \
       if(unlisted, 0, model.1), if(unlisted, 0, 1 + (c + k) % 5), if(unlisted, if(c % 3 = 0, 'closed', 'unknown'), model.2), \
       arrayElement(['first_party', 'marketplace', 'self_hosted', 'third_party', 'unknown'], (c + k) % 5 + 1), \
       if(k = 5, 'embeddings', 'chat'), if(k IN (7, 10), 'fallback', 'first'), if(k % 2 = 0, 'yes', 'no'), \
       multiIf(k IN (6, 11), 'server_error', k = 8, 'rate_limited', \
               k = 9, arrayElement(['client_error', 'server_error', 'cancelled', 'unknown'], c % 4 + 1), 'ok'), \
       multiIf(k IN (6, 11), 0, k IN (8, 9), n % 5, n), multiIf(k IN (6, 11), n, n + n % 3), \
       if(unserved, 0, n * (200 + k * 50)), if(unserved, 0, n * (60 + k * 20)), \
       start + length + if(c = 3, 1500, 30) \
FROM (SELECT *, arrayJoin(range(12)) AS k, multiIf(k = 7, 6, k = 10, 11, k) AS of, \
             intDiv(20 + (cityHash64(c, seq, of) % 60) * if(k IN (0, 1), 2, 1), if(of > 9 OR (c % 6 = 0 AND k < 2), 10, 1)) + 1 AS n, \
             if(k IN (0, 1, 5, 6, 8, 10), arrayFilter(x -> x.2 = 'closed', known), arrayFilter(x -> x.2 != 'closed', known)) AS choices, \
             arrayElement(choices, (c * 3 + k) % length(choices) + 1) AS model \
      FROM ({windows}))";

const REPORT_COLUMNS: &str = "window_start, collector_id, boot_epoch, sequence, contributor, window_s, catalogue_version, environment, \
vantage, gateway_product, cells, dropped_requests, ingested_at";

const REPORTS: &str = "\
SELECT start, id, epoch, seq, who, length, 2026112301, env, 'gateway', product, 12, if(c = 5, seq * 3, 0), start + length + if(c = 3, 1500, 30) \
FROM ({windows})";
