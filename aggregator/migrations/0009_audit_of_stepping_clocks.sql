-- The audit of a collector whose clock steps.
--
-- Windows that ended in the last ten minutes were left out one by one. Where a clock steps, they stand between older ones, and
-- leaving them out looked like a loss. What is left out now is the tail of a boot epoch: everything after the last report
-- whose window ended more than ten minutes ago.
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
FROM
(
    SELECT *,
           maxIf(sequence, window_end < now('UTC') - 600) OVER (PARTITION BY collector_id, boot_epoch) AS last_settled,
           countIf(window_end < now('UTC') - 600) OVER (PARTITION BY collector_id, boot_epoch)         AS settled
    FROM {database}.report_audit
)
WHERE settled > 0 AND sequence <= last_settled
GROUP BY collector_id, boot_epoch
HAVING counted_requests != claimed_requests OR counted_attempts != claimed_attempts
    OR counted_input_tokens != claimed_input_tokens OR counted_output_tokens != claimed_output_tokens
    OR present_reports != expected_reports OR torn_reports != 0;
