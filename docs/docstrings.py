"""An extension of Griffe, which reads the docstrings for `make docs`: what our style has and
Markdown or Griffe would misread."""

import re

import griffe


class OurStyle(griffe.Extension):
    """Examples as blocks of code, and an entry for each argument."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Griffe calls it for each object, before the docstring is parsed."""
        if obj.docstring:
            obj.docstring.value = one_entry_each(fenced(obj.docstring.value))


def fenced(text: str) -> str:
    """`text` with `>>>` examples between fences: Markdown takes them for quotations."""
    return re.sub(r'^>>> .*?(?=\n\n|\Z)', r'```pycon\n\g<0>\n```', text, flags=re.M | re.S)


def one_entry_each(text: str) -> str:
    """`text` with 'a, b: words' under 'Args:' as 'a: words' and 'b: words'."""

    def apart(entry: re.Match) -> str:
        names = re.split(r',\s+', entry[2])
        return '\n'.join(f'{entry[1]}{name}: {entry[3]}' for name in names)

    def in_section(section: re.Match) -> str:
        entry = r'^( +)(\w+(?:,\s+\w+)+): (.*(?:\n\1 +.*)*)'
        return re.sub(entry, apart, section[0], flags=re.M)

    return re.sub(r'^Args:\n.*?(?=\n\n|\Z)', in_section, text, flags=re.M | re.S)
