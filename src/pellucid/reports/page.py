"""Templates into text: the page and the notebook's cell."""

import jinja2


def render_template(name: str, **values: object) -> str:
    """Fill the template of that name; every value is escaped, a missing one an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pellucid.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**values)
