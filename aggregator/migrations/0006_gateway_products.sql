-- The gateways and model servers that are read besides LiteLLM and the GenAI conventions. New names of an enumeration change no row.

ALTER TABLE {database}.ledger
    MODIFY COLUMN gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42);

ALTER TABLE {database}.reports
    MODIFY COLUMN gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42);

ALTER TABLE {database}.traffic_1h
    MODIFY COLUMN gateway_product Enum8('other' = 1, 'litellm' = 2, 'genai' = 3, 'vllm' = 4, 'sglang' = 5, 'smg' = 6, 'bifrost' = 7, 'dynamo' = 8, 'llm-d' = 9, 'tgi' = 10, 'tensorzero' = 11, 'triton' = 12, 'nim' = 13, 'ray-serve' = 14, 'kserve' = 15, 'ollama' = 16, 'llama-cpp' = 17, 'tei' = 18, 'envoy-ai-gateway' = 20, 'agentgateway' = 21, 'kong' = 22, 'higress' = 23, 'apisix' = 24, 'nginx' = 25, 'envoy' = 26, 'portkey' = 27, 'traefik-hub' = 28, 'openllmetry' = 40, 'openinference' = 41, 'opentelemetry-sdk' = 42);
