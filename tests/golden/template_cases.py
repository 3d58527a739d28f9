"""The cases of make_template_golden.py."""

SYSTEM = {"role": "system", "content": "  Answer briefly.\n"}
USER = {"role": "user", "content": "What is 2 + 2?"}
ASSISTANT = {"role": "assistant", "content": " Four. "}
THANKS = {"role": "user", "content": "Danke — 谢谢 <|end|> \"quoted\" 'single' & <b>\n\nbye  "}
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a city, in °C",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "The \"city\" / town"},
        "days": {"type": "integer", "minimum": 1, "default": 1},
        "scale": {"type": "number", "enum": [0.5, 1.0, 1e20]}}}}}]
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"type": "function", "id": "abc123456", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": 2}}}]}
CALLS = {"role": "assistant", "content": None, "tool_calls": [
    {"type": "function", "id": "abc123456", "function": {"name": "get_weather", "arguments": {"city": "Köln"}}},
    {"type": "function", "id": "def123456", "function": {"name": "get_weather", "arguments": "{\"city\": \"Bonn\"}"}}]}
RESULT = {"role": "tool", "tool_call_id": "abc123456", "name": "get_weather", "content": "{\"t\": 21.5}"}
RESULT_DICT = {"role": "tool", "name": "get_weather", "content": {"t": 21.5, "ok": True, "note": None}}
THOUGHT = {"role": "assistant", "content": "<think>\nAdd them.\n</think>\n\nFour."}

SHORT = [USER]
LONG = [SYSTEM, USER, ASSISTANT, THANKS]
TOOL_TALK = [SYSTEM, USER, CALL, RESULT, {"role": "assistant", "content": "21.5 °C"}, THANKS]


def talks(*conversations, **more):
    """Each conversation with and without a generation prompt."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    return [{"messages": c, "add_generation_prompt": prompt, **tokens, **more} for c in conversations for prompt in (True, False)]


CHATML = """\
{% for message in messages %}
<|im_start|>{{ message.role }}
{{ message['content'] }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""

SMOLLM2 = """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\\nBe a helpful model.<|im_end|>\\n' }}{% endif %}\
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

LLAMA2 = """\
{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}\
{% else %}{% set rest = messages %}{% set system = false %}{% endif %}\
{% for m in rest %}\
{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Roles must alternate: user, assistant, user, ...') }}{% endif %}\
{% if loop.index0 == 0 and system != false %}\
{% set content = '<<SYS>>\\n' + system.strip() + '\\n<</SYS>>\\n\\n' + m['content'] %}\
{% else %}{% set content = m['content'] %}{% endif %}\
{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% elif m['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

LLAMA31 = """\
{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "01 Jan 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message, if any, is taken off the front. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_text = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_text = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n" }}
{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "Functions as JSON.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_text }}
{{- "<|eot_id|>" }}

{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("No user message to put the tools in!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user + "<|eot_id|>"}}
{%- endif %}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One tool call at a time!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {%- if builtin_tools is defined and tool_call.name in builtin_tools %}
            {{- "<|python_tag|>" + tool_call.name + ".call(" }}
            {%- for name, value in tool_call.arguments | items %}
                {{- name + '="' + value + '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
            {%- endfor %}
            {{- ")" }}
        {%- else %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("user and assistant must take turns") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call ids have 9 characters!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Unknown role " + message.role) }}
    {%- endif %}
{%- endfor %}
"""

MIXTRAL = """\
{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}\
{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""

QWEN25 = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You help.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

QWEN3 = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

GEMMA2 = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""

GEMMA3 = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must alternate") }}
    {%- endif -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

PHI3 = """\
{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}\
{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}\
{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}\
{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

COMMAND = """\
{%- macro json_type(spec, depth=0) -%}
    {%- if spec.type == 'object' -%}Dict[{{ spec.properties | default({}) | length }}]
    {%- elif spec.enum -%}Literal[{{ spec.enum | map('tojson') | join(', ') }}]
    {%- elif spec.type in ['string', 'integer'] -%}{{ {'string': 'str', 'integer': 'int'}[spec.type] }}
    {%- else -%}Any{{ '?' * depth }}
    {%- endif -%}
{%- endmacro -%}
{%- macro signature(function) -%}
def {{ function.name }}(
    {%- for name, spec in function.parameters.properties.items() -%}
        {{ name }}: {{ json_type(spec, depth=loop.index) }}
        {%- if name not in function.parameters.required %} = {{ spec.default if spec.default is defined else none }}{% endif -%}
        {{ ', ' if not loop.last }}
    {%- endfor -%}
)
{%- endmacro -%}
{%- macro section(title) -%}
## {{ title|title }}
{{ caller() }}
{% endmacro -%}
{{ bos_token }}
{%- set ns = namespace(turns=[], system='') -%}
{%- for message in messages -%}
    {%- if message.role|lower == 'system' -%}
        {%- set ns.system = message.content | trim -%}
    {%- else -%}
        {%- set ns.turns = ns.turns + [message] -%}
    {%- endif -%}
{%- endfor -%}
{%- call section('available tools') -%}
    {%- for tool in tools or [] %}
{{ signature(tool.function) }}
    {%- else %}(none)
    {%- endfor -%}
{%- endcall -%}
{{ ns.system if ns.system else 'No preamble.' }}
{% for turn in ns.turns -%}
    {%- if turn.role == 'tool' %}{% continue %}{% endif -%}
    {%- if loop.index > 4 %}{% break %}{% endif -%}
    <|{{ {'user': 'USER', 'assistant': 'CHATBOT'}.get(turn.role, 'OTHER') }}|>
    {%- if turn.role == 'assistant' -%}
        {% generation %}{{ turn.content }}{% endgeneration %}
    {%- else -%}
        {{ turn.content | replace('\\n', ' ') | trim }}
    {%- endif %}<|END|>
{% endfor -%}
"""

DEEPSEEK = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\
{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}\
{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}\
{{bos_token}}{{ns.system_prompt}}\
{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}\
{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}\
{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}\
{{'<｜Assistant｜><｜calls｜>' + tool['type'] + '<｜sep｜>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments']|string + '\\n' + '```'}}\
{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['type'] + tool['function']['arguments']|string}}{%- endif %}{%- endfor %}{%- endif %}\
{%- if message['role'] == 'assistant' and message['content'] is not none %}\
{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}\
{{'<｜Assistant｜>' + content + '<｜end｜>'}}{%- endif %}{%- endfor -%}\
{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"""

FAMILIES = {
    "chatml": (CHATML, talks(SHORT, LONG)),
    "smollm2": (SMOLLM2, talks(SHORT, LONG)),
    "llama2": (LLAMA2, talks(SHORT, LONG, [SYSTEM, ASSISTANT])),
    "llama31": (LLAMA31, talks(SHORT, LONG) + talks(TOOL_TALK, [], tools=TOOLS) + talks([USER, CALLS], tools=TOOLS)
                + talks(TOOL_TALK, tools=TOOLS, tools_in_user_message=False, date_string="26 Jul 2024")
                + talks([USER, CALL, RESULT_DICT], builtin_tools=["brave_search", "code_interpreter"])
                + talks([USER, {**CALL, "tool_calls": [{"function": {"name": "brave_search", "arguments": {"q": "x", "r": "y"}}}]}],
                        builtin_tools=["brave_search", "code_interpreter"])),
    "mistral": (MISTRAL, talks(SHORT, LONG, [USER, USER], [USER, {"role": "critic", "content": "?"}])
                + talks([SYSTEM, USER, CALLS, RESULT, ASSISTANT, THANKS], tools=TOOLS)),
    "mixtral": (MIXTRAL, talks(SHORT, LONG[1:], LONG)),
    "qwen25": (QWEN25, talks(SHORT, LONG) + talks(TOOL_TALK, [USER, CALLS, RESULT, RESULT, THANKS], tools=TOOLS)),
    "qwen3": (QWEN3, talks(SHORT, LONG, [USER, THOUGHT, THANKS], [USER, THOUGHT]) + talks(SHORT, enable_thinking=False)
              + talks([SYSTEM, USER, CALLS, RESULT, RESULT, {**THOUGHT, "reasoning_content": "\nhm\n"}, THANKS], tools=TOOLS)
              + talks([USER, CALLS, RESULT, THOUGHT])),
    "gemma2": (GEMMA2, talks(SHORT, LONG, LONG[1:], [USER, USER])),
    "gemma3": (GEMMA3, talks(SHORT, LONG, [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " hi "}]}],
                             [{"role": "user", "content": 5}])),
    "phi3": (PHI3, talks(SHORT, LONG)),
    "zephyr": (ZEPHYR, talks(SHORT, LONG)),
    "command": (COMMAND, talks(SHORT, LONG) + talks(TOOL_TALK, tools=TOOLS)),
    "deepseek": (DEEPSEEK, talks(SHORT, LONG, [USER, CALLS, THOUGHT, THANKS])),
}

VARIABLES = {
    "s": "Hello, World", "empty": "", "spaces": " \t pad \n ", "uni": "Grüße, 世界! ǆ", "n": 7, "neg": -7, "f": 2.5,
    "big": 1e22, "tiny": 1.5e-7, "yes": True, "no": False, "nothing": None, "list": [3, 1, 2], "words": ["b", "A", "c", "a"],
    "nested": [[1, 2], [3, [4, "x"]]], "d": {"b": 1, "a": "two", "items": [1], "n": None},
    "people": [{"name": "Ann", "age": 30, "a": {"b": 1}}, {"name": "bob", "age": 25, "a": {"b": 2}}, {"name": "Cy", "age": 30, "a": {"b": 0}}],
    "lines": "one\n\n  two\r\nthree", "html": "<a href=\"x\">'&'</a>", "ctl": "tab\there\u0001\u007f\u2028\u00a0\U0001f600\\",
}

EXPRESSIONS = """
1 + 2 * 3 - 4
(1 + 2) * 3
7 / 2
7 // 2
-7 // 2
-7 % 3
7 % -3
7.5 // 2
-7.5 % 2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
2.0 ** 0.5
1 / 0
1 % 0
0.1 + 0.2
1e16
1e15
123456789012345680.0
0.0001
0.00001
1_000_000
0x1F + 0o17 + 0b101
1.5e3
f + n
n / 1
big
tiny
yes + yes
-yes
not yes
+n
-f
'a' + 'b'
'a' + 1
1 + 'a'
'a' * 3
3 * 'ab'
'a' * -1
[1] + [2, 3]
[0] * 3
(1, 2) + (3,)
[1] + (2,)
'a' ~ 1 ~ none ~ true ~ 2.0 ~ undefined_thing
1 ~ 2 + 3
'%s is %d and %.2f' % ('x', 42, 3.14159)
'%5d|%-5d|%05d|%x|%%' % (1, 2, 3, 255)
'%s' % n
'%r' % s
'%s %s' % (1,)
'%s' % (1, 2)
'%(a)s-%(b)s' % d
1 < 2 < 3
1 < 3 < 2
1 == 1.0
true == 1
'1' == 1
none == undefined_thing
undefined_thing == other_undefined
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
'a' < 'b'
'a' < 1
[1, 2] < [1, 3]
(1, 'a') < (1, 'b')
none < 1
1 != 2
2 >= 2.0
1 in [1, 2]
4 not in [1, 2]
'ell' in s
1 in s
'a' in d
1 in d
[1] in d
'x' in undefined_thing
undefined_thing in [1]
1 in 5
true and false
0 or 'x'
'' or none or []
1 and 'x'
not 0 == 1
not (1 and 0)
'yes' if n > 5 else 'no'
'yes' if n > 50
'a' if no else 'b' if yes else 'c'
(1 if yes else 2) + 1
s[0] ~ s[-1] ~ s[99]
s[1:4]
s[:-3]
s[::-1]
s[::2]
s[-3:]
s[5:2]
s[100:]
s[3:0:-1]
uni[2:5]
uni|length
uni[::-1]
list[0] ~ list[-1]
list[5]
list[5] is defined
list[1:]
list[::-1]
list[::0]
list['x']
list[1.5]
list[none:2]
nested[1][1][1]
d.b
d['a']
d.items is callable
d['items']
d.missing
d.missing.deeper
d.n
d[1]
d.get('a')
d.get('zz')
d.get('zz', 5)
d.get('zz', default=5)
d.keys()
d.values()|list
d.items()
d.items()|list|length
d|length
d|list
undefined_thing
undefined_thing.x
undefined_thing['x']
undefined_thing()
undefined_thing + 1
undefined_thing|length
undefined_thing|default('dflt')
undefined_thing|d
nothing|default('dflt')
nothing|default('dflt', true)
empty|default('e', boolean=true)
nothing
nothing.x
nothing.x.y
n.foo
n.foo.bar
n()
s.foo()
yes
no
[1, 'a', none, true, 2.5, [1], (1,), {'k': 'v'}]
(1, 2)
(1,)
()
{}
{'a': {'b': [1]}, 1: 2, none: 3, 1.5: 4, true: 5}
{[1]: 2}
['it\\'s', "q\\"q", 'both \\' "', 'nl\\n', 'tab\\t', 'bs\\\\', 'é', '\\x01']
'\\x41\\u00e9\\U0001F600\\101\\q\\a'|tojson
'line' 'joined'
"dq 'in' it"
ctl
[ctl]
ctl|tojson
ctl|tojson(ensure_ascii=true)
uni|tojson(ensure_ascii=true)
[uni]
s.upper() ~ s.lower() ~ s.title() ~ s.capitalize() ~ s.swap
uni.upper()
uni.lower()
uni.title()
"they're bill's friends".title()
"they're bill-bob (foo)".title()
"they're bill-bob (foo) x2y"|title
'hELLO wORLD'|capitalize
spaces.strip() ~ '|' ~ spaces.lstrip() ~ '|' ~ spaces.rstrip()
'xxabcxx'.strip('x')
'abcba'.strip('ab')
'xxabcxx'.lstrip('x') ~ 'xxabcxx'.rstrip('x')
'xxabcxx'|trim('x')
spaces|trim
'\\u00a0\\u3000x\\u2003'.strip()
'a,b,c'.split(',')
'a,b,c'.split(',', 1)
'a,b,c'.rsplit(',', 1)
'a,b,c'.split(',', maxsplit=1)
'  a  b c '.split()
'  a  b c '.split(none, 1)
'  a  b c '.rsplit(none, 1)
''.split()
''.split(',')
'abc'.split('')
'a--b--c'.split('--')[-1]
s.startswith('Hell') and s.endswith('ld')
s.startswith(('x', 'H'))
s.startswith('W', 7)
s.startswith(1)
s.replace('l', 'L')
s.replace('l', 'L', 1)
s.replace('', '-')
s.find('o') ~ s.rfind('o') ~ s.find('zz')
uni.find('世')
s.find('o', 5)
s.index('zz')
s.count('l')
s.count('')
'a\\nb\\r\\nc\\x0bd'.splitlines()
'a\\nb\\n'.splitlines(true)
'123'.isdigit() ~ '12a'.isdigit() ~ ''.isdigit() ~ 'abc'.isalpha() ~ 'ab1'.isalnum() ~ '  '.isspace()
'ABC1'.isupper() ~ 'abc!'.islower() ~ '12'.isupper()
', '.join(['a', 'b'])
', '.join([1])
'abc'.removeprefix('ab') ~ 'abc'.removesuffix('bc')
'7'.zfill(3) ~ '-7'.zfill(4) ~ 'ab'.ljust(4, '.') ~ 'ab'.rjust(4) ~ 'ab'.center(5, '*')
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('=')
'{} and {}'.format(1, 'x')
'{0}{1}{0} {name} {{}}'.format('a', 'b', name='N')
s|upper ~ s|lower
s|length
list|length
list|count
5|length
list|join(', ')
list|join
words|join('-')
people|join(', ', attribute='name')
d|join(',')
list|first ~ list|last
[]|first
[]|last|default('none')
'abc'|first ~ 'abc'|last
list|sort
list|sort(reverse=true)
words|sort
words|sort(case_sensitive=true)
people|sort(attribute='age')|map(attribute='name')|join(',')
people|sort(attribute='age,name')|map(attribute='name')|join(',')
people|sort(attribute='a.b', reverse=true)|map(attribute='name')|join(',')
[1, 'a']|sort
list|reverse|list
'abc'|reverse
list|sum
people|sum(attribute='age')
[1.5, 2]|sum(start=10)
list|min ~ list|max
words|min ~ words|max
[]|max
people|max(attribute='age')
[1, 2, 1, 3, 2]|unique|list
words|unique|list
['a', 'A']|unique(case_sensitive=true)|list
words|map('upper')|list
words|map('replace', 'a', 'Z')|join
people|map(attribute='name')|list
people|map(attribute='zip', default='-')|join(',')
people|map(attribute='a.b')|list
people|map('nofilter')|list
list|select('odd')|list
list|reject('odd')|list
list|select('gt', 1)|list
[0, 1, '', 'x', none]|select|list
people|selectattr('age', 'equalto', 30)|map(attribute='name')|list
people|selectattr('age', '==', 30)|list|length
people|selectattr('zip', 'defined')|list
people|rejectattr('age', 'lt', 30)|map(attribute='name')|list
people|selectattr('name')|list|length
people|selectattr('name', 'notest')|list
list|map('string')|join('+')
d|items|list
undefined_thing|items|list
5|items|list
d|dictsort
{'b': 1, 'A': 2, 'c': 0}|dictsort
{'b': 1, 'A': 2, 'c': 0}|dictsort(true)
{'b': 1, 'A': 2, 'c': 0}|dictsort(by='value')
{'b': 1, 'A': 2, 'c': 0}|dictsort(reverse=true)
'abc'|list
5|list
'42'|int + 1
'42.7'|int
'x'|int
'x'|int(default=9)
' 12 '|int
'1_000'|int
'ff'|int(base=16)
'0x1A'|int(base=16)
nothing|int
3.99|int
'3.5'|float
'abc'|float
'1e3'|float
'inf'|float
3|float
5|string + '!'
[1]|string
true|string
(-3)|abs
-3|abs
2.5|abs
2.5|round
3.5|round
2.675|round(2)
42.55|round(1, 'floor')
42.55|round(1, 'ceil')
42|round
1234|round(-2)
s|replace('l', 'L', 2)
12321|replace(2, 'x')
lines|indent
lines|indent(2, true)
lines|indent(2, blank=true)
lines|indent('> ')
html|escape
html|e
html|safe
list|batch(2)|list
list|batch(2, 'x')|list
'abc'|center(7) ~ '|'
'some words here'|wordcount
'%s-%s'|format(1, 'a')
d|tojson
people|tojson
people|tojson(indent=2)
[]|tojson(indent=2)
{}|tojson(indent=2)
{'a': []}|tojson(indent='\\t')
d|tojson(sort_keys=true)
d|tojson(separators=(',', ':'))
[1, 2]|tojson(separators=[';', '='], indent=1)
[1.0, 1e22, 1.5e-7, true, none]|tojson
(1, 'é')|tojson
{1: 2, none: 3}|tojson
undefined_thing|tojson
[undefined_thing]|tojson
range(3)|tojson
'</script>'|tojson
s is defined
undefined_thing is undefined
nothing is none and not n is none
s is string ~ n is string
n is number ~ f is number ~ s is number ~ yes is number
n is integer ~ f is integer ~ yes is integer
f is float ~ n is float
yes is boolean ~ n is boolean
yes is true ~ no is false ~ n is true
d is mapping ~ list is mapping
list is iterable ~ s is iterable ~ n is iterable ~ undefined_thing is iterable
list is sequence ~ s is sequence ~ d is sequence ~ n is sequence
range(2) is sequence
3 is odd and 4 is even
9 is divisibleby 3
9 is divisibleby(2)
n is eq 7
n is equalto(7) and n is ne 8 and n is lt 8 and n is le 7 and n is gt 6 and n is ge 7
'a' is in ['a', 'b']
1 is sameas 1
'abc' is lower and 'ABC' is upper
range is callable
n is not defined or n is not none
n is odd and f is float or false
range(5)|list
range(1, 10, 3)|list
range(5, 0, -2)|list
range(3)
range(2, 5)
range(0, 5, 2)
range(3)[1]
range(3)|length
range(1000000)
range(0)|list
range('a')
range(1, 2, 0)
dict(a=1, b='x')
dict([('a', 1)], c=3)
dict(d)|length
namespace(a=1).a
namespace({'a': 1}, b=2).b
namespace(a=1).zz
namespace(_a=1).b is defined
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %p %I %y %%')
raise_exception('Custom: ' ~ n)
list.append(4)
d.update({})
d.pop('a')
list.index(1) ~ list.count(3)
list.index(9)
words.sort()
(1, 2).count(1)
s.nosuch
s['upper']()
people[0]['name'][0]
people|first|attr('x')
list|attr('append') is defined
[1, 2, 3][1:]|first
s|upper|lower|title
(s|upper).lower()
-1|abs
2 - -1
[1,2,][0]
{'a': 1,}['a']
1 if true else 2 if false else 3
'x' is string and 'y' is string
5 is divisibleby 5 and true
nested.0.1
words|map('upper')|map('lower')|join
words|map('upper')|length
[1]|map('string') and 'truthy'
d.keys()|list|sort|join(',')
d.values()|first
d.keys()[0]
d.items()|last
words|map('upper')|last
true|tojson ~ True ~ False ~ None ~ none
1.0 ~ ' ' ~ 100.0 ~ ' ' ~ 1e100 ~ ' ' ~ -0.0
9223372036854775807
list == [3, 1, 2]
loop is defined
n == 7 is true
('a', 1) in [('a', 1)]
{('a', 1): 5}[('a', 1)]
not undefined_thing
undefined_thing or 'fallback'
undefined_thing ~ ''
undefined_thing|upper ~ 'x'
undefined_thing|join(',')
undefined_thing|list
undefined_thing|first is defined
undefined_thing|int
undefined_thing < 1
1 < undefined_thing
undefined_thing is string
undefined_thing|string|length
undefined_thing|trim
undefined_thing|replace('a', 'b')
'a' in nothing
nothing|length
nothing|trim
nothing|upper
n|trim
n|upper
""".strip("\n").split("\n")

SNIPPETS = [
    # White space.
    "", "\n", "a\n", "a\n\n", "\n\na\r\nb\rc", "a{{ 1 }}\nb", "a\n{{ 1 }}\nb\n", "{% if yes %}\nx\n{% endif %}\ny",
    "  {% if yes %}\n  x\n  {% endif %}\n  y", "a  {% if yes %}  b  {% endif %}  c", "a\n  {%- if yes %}\n  b\n  {%- endif %}\n  c",
    "a\n  {% if yes -%}\n  b\n  {% endif -%}\n  c", "a\n  {%+ if yes %}\n  b\n  {%+ endif %}\n  c",
    "a\n  {% if yes +%}\n  b\n  {% endif +%}\n  c", "  {{ 1 }}  \n  {{- 2 -}}  \n  {{ 3 }}", "  {{+ 1 }}",
    "a {# c #} b", "a\n  {# c #}\nb", "a\n  {#- c -#}\n  b", "a\n  {#+ c +#}\n  b", "{# {{ x }} {% y %} #}z", "{#-#}x", "{##}\n\nx",
    "a\n\t {% set x = 1 %}\n\nb", "{% set x = 1 %}{% set y = 2 %}\n  {% set z = 3 %}\n|", "  {% set x = 1 %}|", "x  {% set x = 1 %}|",
    "{{ 1 }}\n\n", "{{ 1 }}  \n{% if yes %}\n{% endif %}\n", "\u00a0{%- if yes -%}\u3000x{% endif %}", "{%- if yes -%} \n x \n {%- endif -%} \n ",
    "{% for i in list %}\n  - {{ i }}\n{% endfor %}\nend", "{% for i in list -%}\n  {{ i }},\n{%- endfor %}\nend",
    "{% raw %}\n{{ x }} {% if %}\n{% endraw %}\nz", "a  {%- raw -%}  {{ x }}  {%- endraw -%}  z", "  {% raw %} {{ x }} {% endraw %} \n z",
    "a\n  {% raw %}b\n  {% endraw %}\nc", "{{ '{{' }}{{ '%}' }}{{ \"}}\" }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{ {'a': {'b': 1}} }}",
    "{{\n  1\n  +\n  2\n}}\n", "a { b } c {x} % } #}", "{ {", "{% if yes %}{{ 1 }}{% endif %}\n\n{% if yes %}2{% endif %}\n",
    # Statements.
    "{% if no %}1{% elif n == 7 %}2{% else %}3{% endif %}", "{% if undefined_thing %}1{% else %}2{% endif %}",
    "{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }} {% endfor %}",
    "{% for i in list %}{{ loop.previtem|default('-') }}<{{ i }}>{{ loop.nextitem|default('-') }} {% endfor %}",
    "{% for i in list %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for i in undefined_thing %}x{% else %}none{% endfor %}", "{% for i in 5 %}x{% endfor %}", "{% for i in nothing %}x{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }};{% endfor %}", "{% for c in uni %}{{ c }}|{% endfor %}", "{% for a, b in nested %}{{ a }}-{{ b }};{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for a, b in [1, 2] %}{% endfor %}", "{% for a, b in [[1, 2, 3]] %}{% endfor %}",
    "{% for i in list if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}", "{% for i in list if i > 9 %}x{% else %}none{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [1, 2] %}{% if j == 2 %}{% break %}{% endif %}{{ loop.depth }}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}",
    "{% set x = 1 %}{% for i in list %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}", "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% set ns = namespace(x=1) %}{% for i in list %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% set ns = namespace() %}{{ ns.x }}|{% set ns.x = 1 %}{{ ns.x }}{{ ns['x'] }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set d.x = 1 %}", "{% set zz.x = 1 %}", "{% set a, b = [1] %}",
    "{% set x %}a{{ n }}\nb{% endset %}[{{ x }}]", "{% set x | upper | replace('A', 'Z') %}abc{% endset %}[{{ x }}]", "{% set x %}{% set y = 1 %}{% endset %}{{ y }}",
    "{% set x = 'a' if no %}[{{ x }}]", "{% set n = n + 1 %}{{ n }}", "{% set ns = namespace(_x=1) %}", "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(1, c='y') }}|{{ m() }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(z=2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}", "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(5) }}",
    "{% macro fact(k) %}{{ 1 if k == 0 else k * fact(k - 1)|int }}{% endmacro %}{{ fact(5) }}", "{% macro m() %}{{ later }}{% endmacro %}{% set later = 1 %}{{ m() }}",
    "{% set x = 1 %}{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}", "{% macro m() %}\n  a\n{% endmacro %}\n[{{ m() }}]", "{% macro m() %}a{% endmacro %}{{ m()|upper }}{{ m() ~ 'b' }}{{ m() is string }}",
    "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m(x) %}<{{ caller() }}{{ x }}>{% endmacro %}{% call m(1) %}in{% endcall %}",
    "{% macro m(x) %}<{{ caller(x + 1) }}>{% endmacro %}{% call(v) m(1) %}got {{ v }}{% endcall %}", "{% set i = 9 %}{% macro m() %}{{ caller() }}{% endmacro %}{% for i in [1, 2] %}{% call m() %}{{ i }}{% endcall %}{% endfor %}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}",
    "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}abc{% endfilter %}", "{% generation %}x{% set gg = 1 %}{% endgeneration %}{{ gg }}y",
    "{% for m in people %}{% generation %}{{ m.name }}{% endgeneration %}\n{% endfor %}", "{{ namespace(a=1) }}", "{{ raise_exception('stop') }}", "{% if no %}{{ raise_exception('stop') }}{% endif %}ok",
    "{% set _ = 1 %}{{ _ }}", "{% set loop = 5 %}{{ loop }}", "{{ loop }}", "{{ caller }}", "{{ d.b.c.d }}", "{{ (1, 2)|join('-') }}", "{{ 1, 2 }}", "{% for i in range(3) %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% set x = [] %}{% for i in list %}{% set x = x + [i] %}{% endfor %}{{ x }}", "{% set ns = namespace(l=[]) %}{% for i in list %}{% set ns.l = ns.l + [i * 2] %}{% endfor %}{{ ns.l }}{{ ns.l|sum }}",
    "{% if 'b' in d and d.b is number and (d.a is string or d.a is none) %}ok{% endif %}", "{% if not no and not nothing %}ok{% endif %}", "{% if n is defined and n %}1{% endif %}{% if zz is defined and zz.y %}2{% endif %}",
    "{% set c = 'x' %}{% for m in people %}{% set c = m.name %}{% endfor %}{{ c }}", "{{ tools is none }}{{ documents is none }}{{ bos_token is defined }}",
    "{{ people|map(attribute='age')|unique|sort|list }}",
    # Errors of syntax.
    "{% if yes %}", "{% endif %}", "{% for %}", "{% for i in list %}", "{{ 1 + }}", "{{ ", "{{ 'abc }}", "{% nosuchtag %}", "{{ x|nosuchfilter }}", "{{ x is nosuchtest }}",
    "{{ (1 }}", "{{ [1, 2 }}", "{{ 1 ) }}", "{# never closed", "{% raw %} x", "{{ a b }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% if %}x{% endif %}", "{{ }}", "{% break %}", "{{ f(a=1, 2) }}",
    "{% else %}", "{% macro m %}{% endmacro %}", "{% for i in list %}{% endif %}", "{{ a. }}", "{{ a[] }}", "{{ 1 if }}", "{{ ? }}", "{{ x | }}", "{{ x is }}", "{{ not }}", "{% set x %}", "{{ 007 }}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ '\\x4' }}",
    "{% for i in list %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
]
