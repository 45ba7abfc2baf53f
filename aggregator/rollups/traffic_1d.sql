INSERT INTO {database}.{stage:traffic_1d} (day, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, contributor_bits, requests, attempts, input_tokens, output_tokens, built_from)
SELECT toStartOfDay(window_start) AS day, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome,
       groupBitOr(if(contributor = toUUID('00000000-0000-0000-0000-000000000000'), 0, bitShiftLeft(toUInt64(1), cityHash64(contributor) % 64))),
       sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {block}
FROM {database}.ledger FINAL
WHERE toYYYYMMDD(window_start) = {day}
GROUP BY day, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome
SETTINGS do_not_merge_across_partitions_select_final = 1, async_insert = 0
