#!/usr/bin/env python3
"""Writes chat_templates/cases.json: templates, inputs, and what Jinja2 makes of them as transformers sets it up.

Needs jinja2 3.1.6 or later. The environment is that of transformers.utils.chat_template_utils: the immutable sandbox with
trim_blocks, lstrip_blocks and loop controls, a generation tag, and its own tojson, raise_exception and strftime_now.
Templates are written for this test, in the manner of the model families they are named after.

A case has a name, a template or "family" (a key of "templates"), variables (or else those of the file), and an output, or
an error: the exception's class, with a "message" for what the template raised itself. The clock stands at
2024-07-26 09:05:03.
"""

import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from template_cases import EXPRESSIONS, FAMILIES, SNIPPETS, VARIABLES

NOW = datetime.datetime(2024, 7, 26, 9, 5, 3)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


class Namespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        for name in dict(*args[1:], **kwargs):
            if name.startswith("_"):
                raise jinja2.exceptions.SecurityError(name)
        jinja2.utils.Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name, value):
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)
        super().__setitem__(name, value)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def make_environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda pattern: NOW.strftime(pattern)
    env.globals["namespace"] = Namespace
    env.globals["dict"] = dict
    return env


def run(env, case, template, variables):
    given = {"tools": None, "documents": None, **json.loads(json.dumps(variables))}
    try:
        case["output"] = env.from_string(template).render(**given)
    except Exception as error:  # whatever Python raises is what the template's author would see
        case["error"] = type(error).__name__
        if type(error) is jinja2.exceptions.TemplateError:
            case["message"] = str(error)
    return case


def main():
    env = make_environment()
    cases = []
    for name, (template, conversations) in FAMILIES.items():
        for i, variables in enumerate(conversations):
            case = {"name": f"{name}/{i}", "family": name, "variables": variables}
            cases.append(run(env, case, template, variables))
    for i, expression in enumerate(EXPRESSIONS):
        template = "{{ " + expression + " }}"
        cases.append(run(env, {"name": f"expression/{i}", "template": template}, template, VARIABLES))
    for i, snippet in enumerate(SNIPPETS):
        cases.append(run(env, {"name": f"snippet/{i}", "template": snippet}, snippet, VARIABLES))
    path = pathlib.Path(__file__).parent / "chat_templates" / "cases.json"
    content = {"variables": VARIABLES, "templates": {name: family[0] for name, family in FAMILIES.items()}, "cases": cases}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    errors = [case for case in cases if "error" in case]
    print(f"{len(cases)} cases, {len(errors)} of them errors", file=sys.stderr)


if __name__ == "__main__":
    main()
