INSERT INTO {database}.{stage:rollup_models_1d} (day, environment, vantage, model, provider, openness, hosting, operation, contributor_bits, requests, attempts, input_tokens, output_tokens, built_from)
SELECT day, environment, vantage, model, provider, openness, hosting, operation, groupBitOr(contributor_bits), sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {block}
FROM {database}.{stage:traffic_1d}
WHERE toYYYYMMDD(day) = {day} AND outcome = 'ok' AND operation IN ('chat', 'text_completion')
GROUP BY day, environment, vantage, model, provider, openness, hosting, operation
