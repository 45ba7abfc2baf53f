INSERT INTO {database}.{stage:traffic_1m} (minute, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toStartOfMinute(window_start) AS minute, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {block}
FROM {database}.ledger FINAL
WHERE toYYYYMMDD(window_start) = {day}
GROUP BY minute, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome
SETTINGS do_not_merge_across_partitions_select_final = 1, async_insert = 0
