INSERT INTO {database}.{stage:rollup_split_1d} (day, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, contributor_bits, requests, attempts, input_tokens, output_tokens, built_from)
SELECT day, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, groupBitOr(contributor_bits), sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {block}
FROM {database}.{stage:traffic_1d}
WHERE toYYYYMMDD(day) = {day}
GROUP BY day, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome
