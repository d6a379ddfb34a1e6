// Tools that can be picked: one to play with, and those that the API defines.

export const WEATHER = Object.freeze({
  name: "get_weather",
  description: "The weather in a city now.",
  input_schema: {
    type: "object",
    properties: {
      city: { type: "string", description: "The city's name", maxLength: 40 },
      unit: { type: "string", enum: ["celsius", "fahrenheit"] },
    },
    required: ["city", "unit"],
  },
});

export const KNOWN = [
  ["get_weather, an example", WEATHER],
  ["web search, on the server", { type: "web_search_20250305", name: "web_search", max_uses: 5 }],
  ["web fetch, on the server", { type: "web_fetch_20250910", name: "web_fetch", max_uses: 5 }],
  ["code execution, on the server", { type: "code_execution_20250825", name: "code_execution" }],
  ["bash", { type: "bash_20250124", name: "bash" }],
  ["text editor", { type: "text_editor_20250728", name: "str_replace_based_edit_tool" }],
  ["memory", { type: "memory_20250818", name: "memory" }],
  ["computer", { type: "computer_20251124", name: "computer", display_width_px: 1280, display_height_px: 800 }],
];
