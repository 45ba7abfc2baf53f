-- Views for SQL users. They hold no data; a later version replaces them with CREATE OR REPLACE.

-- The rollup with names. History for dashboards; at most one rollup interval old.
CREATE OR REPLACE VIEW {database}.traffic AS
SELECT t.hour AS hour, t.environment AS environment, t.vantage AS vantage, t.gateway_product AS gateway_product,
       if(m.name = '', concat('#', toString(t.model)), m.name) AS model, m.family AS family, m.developer AS developer,
       if(p.name = '', concat('#', toString(t.provider)), p.name) AS provider,
       t.openness AS openness, t.hosting AS hosting, t.operation AS operation, t.choice AS choice,
       t.streaming AS streaming, t.outcome AS outcome,
       t.requests AS requests, t.attempts AS attempts, t.input_tokens AS input_tokens, t.output_tokens AS output_tokens
FROM {database}.traffic_1h AS t
LEFT JOIN {database}.models AS m ON m.id = t.model
LEFT JOIN {database}.providers AS p ON p.id = t.provider;

-- One row per report: what its cells sum to in the ledger, beside what the report said of itself.
CREATE OR REPLACE VIEW {database}.report_audit AS
SELECT collector_id, boot_epoch, sequence,
       max(window_end)    AS window_end,
       sum(reports)       AS reports,
       sum(ledger_cells)  AS ledger_cells,
       sum(report_cells)  AS report_cells,
       sum(requests)      AS requests,
       sum(attempts)      AS attempts,
       sum(input_tokens)  AS input_tokens,
       sum(output_tokens) AS output_tokens,
       sum(total_requests)      AS total_requests,
       sum(total_attempts)      AS total_attempts,
       sum(total_input_tokens)  AS total_input_tokens,
       sum(total_output_tokens) AS total_output_tokens,
       sum(dropped_requests)    AS dropped_requests
FROM
(
    SELECT collector_id, boot_epoch, sequence, window_start + window_s AS window_end,
           0 AS reports, 1 AS ledger_cells, 0 AS report_cells, requests, attempts, input_tokens, output_tokens,
           0 AS total_requests, 0 AS total_attempts, 0 AS total_input_tokens, 0 AS total_output_tokens, 0 AS dropped_requests
    FROM {database}.ledger FINAL
    UNION ALL
    SELECT collector_id, boot_epoch, sequence, window_start + window_s AS window_end,
           1 AS reports, 0 AS ledger_cells, cells AS report_cells, 0, 0, 0, 0,
           total_requests, total_attempts, total_input_tokens, total_output_tokens, dropped_requests
    FROM {database}.reports FINAL
)
GROUP BY collector_id, boot_epoch, sequence
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- One row per boot epoch of a collector: counted against claimed, present against expected.
--
-- The first report that is still there is the base, so that a boot epoch whose oldest reports have expired still adds up.
-- A lost tail cannot be seen here: compare last_sequence with the collector's own metric.
CREATE OR REPLACE VIEW {database}.epoch_audit AS
SELECT collector_id, boot_epoch,
       sum(requests)      AS counted_requests,
       max(total_requests)      + argMin(requests, sequence)      - argMin(total_requests, sequence)      AS claimed_requests,
       sum(attempts)      AS counted_attempts,
       max(total_attempts)      + argMin(attempts, sequence)      - argMin(total_attempts, sequence)      AS claimed_attempts,
       sum(input_tokens)  AS counted_input_tokens,
       max(total_input_tokens)  + argMin(input_tokens, sequence)  - argMin(total_input_tokens, sequence)  AS claimed_input_tokens,
       sum(output_tokens) AS counted_output_tokens,
       max(total_output_tokens) + argMin(output_tokens, sequence) - argMin(total_output_tokens, sequence) AS claimed_output_tokens,
       count()                           AS present_reports,
       max(sequence) - min(sequence) + 1 AS expected_reports,
       countIf(reports != 1 OR ledger_cells != report_cells) AS torn_reports,
       max(dropped_requests) AS dropped_requests,
       min(sequence)   AS first_sequence,
       max(sequence)   AS last_sequence,
       max(window_end) AS last_window_end
FROM {database}.report_audit
GROUP BY collector_id, boot_epoch;

-- The boot epochs that do not add up; empty when nothing is missing and nothing doubled.
--
-- dropped_requests says how much of a gap the collector itself declared. Windows that ended in the last ten minutes are
-- left out: reports may overtake one another, and a batch enters the two tables one after the other.
CREATE OR REPLACE VIEW {database}.audit AS
SELECT collector_id, boot_epoch,
       sum(requests)      AS counted_requests,
       max(total_requests)      + argMin(requests, sequence)      - argMin(total_requests, sequence)      AS claimed_requests,
       sum(attempts)      AS counted_attempts,
       max(total_attempts)      + argMin(attempts, sequence)      - argMin(total_attempts, sequence)      AS claimed_attempts,
       sum(input_tokens)  AS counted_input_tokens,
       max(total_input_tokens)  + argMin(input_tokens, sequence)  - argMin(total_input_tokens, sequence)  AS claimed_input_tokens,
       sum(output_tokens) AS counted_output_tokens,
       max(total_output_tokens) + argMin(output_tokens, sequence) - argMin(total_output_tokens, sequence) AS claimed_output_tokens,
       count()                           AS present_reports,
       max(sequence) - min(sequence) + 1 AS expected_reports,
       countIf(reports != 1 OR ledger_cells != report_cells) AS torn_reports,
       max(dropped_requests) AS dropped_requests,
       min(sequence)   AS first_sequence,
       max(sequence)   AS last_sequence,
       max(window_end) AS last_window_end
FROM {database}.report_audit
WHERE window_end < now('UTC') - 600
GROUP BY collector_id, boot_epoch
HAVING counted_requests != claimed_requests OR counted_attempts != claimed_attempts
    OR counted_input_tokens != claimed_input_tokens OR counted_output_tokens != claimed_output_tokens
    OR present_reports != expected_reports OR torn_reports != 0;
