"""Signatures as readers want them; an extension of Griffe, which reads the code for the site.

What a name of ours stands for is written out, be it the alias of a type or a default, and a class
is shown with the fields that it is made with where the library that it is of makes the constructor.
"""

import dataclasses
from typing import Any

import griffe

PACKAGE = "symskip_jax."
# Whose fields are the arguments of the constructor; dataclasses Griffe knows by itself.
OF_FIELDS = {"flax.linen.Module", "flax.struct.dataclass", "typing.NamedTuple"}


class Signatures(griffe.Extension):
    """Changes what is shown of each function, class and field."""

    def on_function(self, *, func: griffe.Function, loader: Any, **_: Any) -> None:
        """Writes out a function's types and defaults."""
        for parameter in func.parameters:
            parameter.annotation = _written_out(parameter.annotation, loader)
            parameter.default = _written_out(parameter.default, loader)
        func.returns = _written_out(func.returns, loader)

    def on_attribute(self, *, attr: griffe.Attribute, loader: Any, **_: Any) -> None:
        """Writes out the type of a field."""
        attr.annotation = _written_out(attr.annotation, loader)

    def on_class(self, *, cls: griffe.Class, loader: Any, **_: Any) -> None:
        """Gives a class of fields its constructor."""
        kinds = [*cls.bases, *(it.value for it in cls.decorators)]
        paths = {it.canonical_path for it in kinds if isinstance(it, griffe.Expr)}
        if not paths & OF_FIELDS or "__init__" in cls.members:
            return
        fields = [
            it for it in cls.attributes.values() if it.annotation and not it.has_labels("property")
        ]
        parameters = [
            griffe.Parameter(
                it.name,
                annotation=_written_out(it.annotation, loader),
                kind=griffe.ParameterKind.positional_or_keyword,
                default=_written_out(it.value, loader),
            )
            for it in fields
        ]
        itself = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
        made = griffe.Parameters(itself, *parameters)
        cls.set_member("__init__", griffe.Function("__init__", parameters=made, returns="None"))


def _written_out(expression: Any, loader: griffe.GriffeLoader) -> Any:
    """Returns an expression with the values of our constants in the place of their names."""
    if isinstance(expression, list | tuple):
        return type(expression)(_written_out(it, loader) for it in expression)
    if isinstance(expression, griffe.ExprName):
        path = expression.canonical_path
        found = loader.modules_collection.get_member(path) if path.startswith(PACKAGE) else None
        constant = found is not None and found.is_attribute and found.value is not None
        return _written_out(found.value, loader) if constant else expression
    # Of `a.b` the parts mean nothing by themselves.
    if isinstance(expression, griffe.Expr) and not isinstance(expression, griffe.ExprAttribute):
        fields = {it.name: getattr(expression, it.name) for it in dataclasses.fields(expression)}
        return dataclasses.replace(
            expression, **{name: _written_out(value, loader) for name, value in fields.items()}
        )
    return expression
