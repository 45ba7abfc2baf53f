INSERT INTO {database}.{stage:participation_1d} (day, collector_id, contributor, environment, vantage, requests,
    open_requests, closed_requests, unknown_requests, open_input_tokens, closed_input_tokens, unknown_input_tokens,
    open_output_tokens, closed_output_tokens, unknown_output_tokens, built_from)
WITH outcome = 'ok' AND operation IN ('chat', 'text_completion') AS counts, CAST(openness, 'Int8') AS class
SELECT toDate(window_start) AS day, collector_id, contributor, environment, vantage, sum(requests),
       sumIf(requests, counts AND class > 1), sumIf(requests, counts AND class = 1), sumIf(requests, counts AND class = 0),
       sumIf(input_tokens, counts AND class > 1), sumIf(input_tokens, counts AND class = 1), sumIf(input_tokens, counts AND class = 0),
       sumIf(output_tokens, counts AND class > 1), sumIf(output_tokens, counts AND class = 1), sumIf(output_tokens, counts AND class = 0),
       {block}
FROM {database}.ledger FINAL
WHERE toYYYYMMDD(window_start) = {day}
GROUP BY day, collector_id, contributor, environment, vantage
SETTINGS do_not_merge_across_partitions_select_final = 1, async_insert = 0
