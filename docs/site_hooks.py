"""What `make docs` adds to the pages of this folder: the README as the home page, a page per module
from its docstrings, the changelog, and the outputs of the blocks of tour.md.

MkDocs calls the functions that begin with `on_`.
"""

import ast
import contextlib
import importlib
import io
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'mmseg_boundary'
TOUR = 'tour.md'
# {page of the site: the file outside docs/ that it is made of}
OUTSIDE_DOCS = {'index.md': ROOT / 'README.md', 'changelog.md': ROOT / 'CHANGELOG.md'}


def on_config(config):
    """Adds the pages of the modules to those that mkdocs.yml lists."""
    modules = []
    for module, page, _ in module_pages():
        _, *names = module.split('.')
        if (PACKAGE / '/'.join(names)).is_dir() and names:
            modules.append({names[0]: [page]})
        elif len(names) > 1:
            modules[-1][names[0]].append({names[1]: page})
        else:
            modules.append({module if not names else names[0]: page})
    config.nav.append({'Modules': modules})
    return config


def on_files(files, config):
    """Adds the pages that are generated."""
    from mkdocs.structure.files import File

    for page, source in OUTSIDE_DOCS.items():
        files.append(File.generated(config, page, content=source.read_text(encoding='utf-8')))
    for _, page, text in module_pages():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Makes links into the repository links within the site, and adds the outputs of the tour."""
    from mkdocs.structure.files import File

    name = page.file.src_uri
    if name == TOUR:
        markdown, figures = with_outputs(markdown)
        for figure, content in figures.items():
            files.append(File.generated(config, figure, content=content))
    return to_site(markdown, in_root=name in OUTSIDE_DOCS)


def to_site(markdown: str, in_root: bool) -> str:
    """`markdown` with each link to a file of the repository replaced by one to its page.

    Args:
        in_root: the text stands in the repository's root, not in docs/.
    """

    def moved(link: re.Match) -> str:
        target, hash_, anchor = link[1].partition('#')
        if '://' in target or not target:
            return link[0]
        path = ((ROOT if in_root else ROOT / 'docs') / target).resolve()
        if path == ROOT / 'README.md':
            target = 'index.md'
        elif path == ROOT / 'CHANGELOG.md':
            target = 'changelog.md'
        elif path.is_relative_to(PACKAGE):
            target = page_of(path)
        elif in_root:
            target = target.removeprefix('docs/')
        return f']({target}{hash_}{anchor})'

    # Links in blocks of code stay as they are.
    parts = re.split(r'(^ *```.*?^ *```$)', markdown, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [re.sub(r'\]\(([^)\s]+)\)', moved, part) for part in parts[::2]]
    return ''.join(parts)


def module_pages() -> list[tuple[str, str, str]]:
    """(module, page, text) of each module, a package before its modules."""
    files = (path for path in PACKAGE.rglob('*.py') if '.mim' not in path.parts)
    sources = sorted(files, key=module_of)
    pages = []
    for path in sources:
        module = module_of(path)
        text = f'# `{module}`\n\n::: {module}\n'
        if path.name == '__init__.py':
            text += '    options:\n      members: false\n'
            text += ''.join(
                f'\n- [`{module_of(each)}`]({Path(page_of(each)).name}): {summary(each)}'
                for each in sources
                if each != path and package_of(each) == path.parent
            )
        pages.append((module, page_of(path), text + '\n'))
    return pages


def package_of(path: Path) -> Path:
    """The folder whose list of modules a file is in."""
    return path.parent.parent if path.name == '__init__.py' else path.parent


def module_of(path: Path) -> str:
    """The name by which a file or folder of the package is imported."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def page_of(path: Path) -> str:
    """The page of a module."""
    return f'modules/{module_of(path)}.md'


def summary(path: Path) -> str:
    """The first sentence of a module's docstring, in one line."""
    words = ' '.join((ast.get_docstring(ast.parse(path.read_text())) or '').split())
    return re.split(r'(?<=\.) (?=[A-Z`])', words)[0]  # 'eq. (3)' ends no sentence


def with_outputs(markdown: str) -> tuple[str, dict[str, bytes]]:
    """Runs the blocks of Python in order, in one namespace, and puts their output and figures below
    them.

    Returns:
        The text, and {name: PNG} of the figures.
    """
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    plt.close('all')
    namespace, figures = {}, {}
    with contextlib.redirect_stdout(io.StringIO()):  # the stack's messages on import
        importlib.import_module('mmseg_boundary.registered')

    def run(block: re.Match) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block[1], TOUR, 'exec'), namespace)
        text = block[0]
        if printed.getvalue():
            text += f'\n\n```text\n{printed.getvalue().rstrip()}\n```'
        for number in plt.get_fignums():
            name = f'pictures/tour_{len(figures) + 1}.png'
            png = io.BytesIO()
            plt.figure(number).savefig(png, dpi=144)
            figures[name] = png.getvalue()
            text += f'\n\n![What the block above draws]({name})'
        plt.close('all')
        return text

    text = re.sub(r'^```python\n(.*?)^```', run, markdown, flags=re.MULTILINE | re.DOTALL)
    return text, figures
