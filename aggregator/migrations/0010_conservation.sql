-- Views that `weighbridge-aggregator audit` reads. They hold no data; a later version replaces them with CREATE OR REPLACE.

-- One row per report, as report_audit, with the window it belongs to: a filter on window_start reads only those days. A row that
-- came under a changed window stands by itself and shows as torn. kafka_partition and kafka_offset say where the copy was read that
-- ClickHouse kept.
CREATE OR REPLACE VIEW {database}.report_audit_by_window AS
SELECT r.window_start AS window_start, r.collector_id AS collector_id, r.boot_epoch AS boot_epoch, r.sequence AS sequence,
       sum(r.reports)       AS reports,
       sum(r.ledger_cells)  AS ledger_cells,
       sum(r.report_cells)  AS report_cells,
       sum(r.requests)      AS requests,
       sum(r.attempts)      AS attempts,
       sum(r.input_tokens)  AS input_tokens,
       sum(r.output_tokens) AS output_tokens,
       sum(r.total_requests)      AS total_requests,
       sum(r.total_attempts)      AS total_attempts,
       sum(r.total_input_tokens)  AS total_input_tokens,
       sum(r.total_output_tokens) AS total_output_tokens,
       sum(r.dropped_requests)    AS dropped_requests,
       argMax(r.kafka_partition, (r.reports, r.kafka_offset)) AS kafka_partition,
       argMax(r.kafka_offset, (r.reports, r.kafka_offset))    AS kafka_offset
FROM
(
    SELECT window_start, collector_id, boot_epoch, sequence,
           toUInt64(0) AS reports, toUInt64(1) AS ledger_cells, toUInt64(0) AS report_cells,
           requests, attempts, input_tokens, output_tokens,
           toUInt64(0) AS total_requests, toUInt64(0) AS total_attempts, toUInt64(0) AS total_input_tokens,
           toUInt64(0) AS total_output_tokens, toUInt64(0) AS dropped_requests, kafka_partition, kafka_offset
    FROM {database}.ledger FINAL
    UNION ALL
    SELECT window_start, collector_id, boot_epoch, sequence,
           toUInt64(1) AS reports, toUInt64(0) AS ledger_cells, toUInt64(cells) AS report_cells,
           toUInt64(0) AS requests, toUInt64(0) AS attempts, toUInt64(0) AS input_tokens, toUInt64(0) AS output_tokens,
           total_requests, total_attempts, total_input_tokens,
           total_output_tokens, dropped_requests, kafka_partition, kafka_offset
    FROM {database}.reports FINAL
) AS r
GROUP BY window_start, collector_id, boot_epoch, sequence
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- One row per hour: the ledger beside the rollup that was built from it.
--
-- The one place that reads both, to compare them; the two digests are equal exactly when every combination of dimensions holds the
-- same counts (up to a collision of 64 bits), because a sum of counts weighted by a hash does not depend on how they are grouped.
-- While a day is being loaded or rebuilt the two sides may differ: see built_from in traffic_1h.
CREATE OR REPLACE VIEW {database}.rollup_audit AS
SELECT hour,
       sum(ledger_requests)      AS ledger_requests,      sum(rollup_requests)      AS rollup_requests,
       sum(ledger_attempts)      AS ledger_attempts,      sum(rollup_attempts)      AS rollup_attempts,
       sum(ledger_input_tokens)  AS ledger_input_tokens,  sum(rollup_input_tokens)  AS rollup_input_tokens,
       sum(ledger_output_tokens) AS ledger_output_tokens, sum(rollup_output_tokens) AS rollup_output_tokens,
       sum(ledger_digest)        AS ledger_digest,        sum(rollup_digest)        AS rollup_digest
FROM
(
    SELECT toStartOfHour(l.window_start) AS hour,
           sum(l.requests) AS ledger_requests, sum(l.attempts) AS ledger_attempts,
           sum(l.input_tokens) AS ledger_input_tokens, sum(l.output_tokens) AS ledger_output_tokens,
           sum(cityHash64(l.environment, l.vantage, l.gateway_product, l.model, l.provider, l.openness, l.hosting, l.operation, l.choice, l.streaming, l.outcome)
               * (l.requests + 3 * l.attempts + 5 * l.input_tokens + 7 * l.output_tokens)) AS ledger_digest,
           toUInt64(0) AS rollup_requests, toUInt64(0) AS rollup_attempts, toUInt64(0) AS rollup_input_tokens,
           toUInt64(0) AS rollup_output_tokens, toUInt64(0) AS rollup_digest
    FROM {database}.ledger AS l FINAL
    GROUP BY hour
    UNION ALL
    SELECT t.hour AS hour,
           toUInt64(0) AS ledger_requests, toUInt64(0) AS ledger_attempts, toUInt64(0) AS ledger_input_tokens,
           toUInt64(0) AS ledger_output_tokens, toUInt64(0) AS ledger_digest,
           sum(t.requests) AS rollup_requests, sum(t.attempts) AS rollup_attempts,
           sum(t.input_tokens) AS rollup_input_tokens, sum(t.output_tokens) AS rollup_output_tokens,
           sum(cityHash64(t.environment, t.vantage, t.gateway_product, t.model, t.provider, t.openness, t.hosting, t.operation, t.choice, t.streaming, t.outcome)
               * (t.requests + 3 * t.attempts + 5 * t.input_tokens + 7 * t.output_tokens)) AS rollup_digest
    FROM {database}.traffic_1h AS t
    GROUP BY hour
)
GROUP BY hour
SETTINGS do_not_merge_across_partitions_select_final = 1;
