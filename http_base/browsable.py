"""The browsable API: a view opened in a browser, with forms that are filled in already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from django.utils.html import format_html, format_html_join
from rest_framework.renderers import BrowsableAPIRenderer

from http_base.apidoc import doc_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.forms import Form
    from django.utils.safestring import SafeString
    from rest_framework.request import Request
    from rest_framework.views import APIView

    from http_base.apidoc import ApiDoc


class BrowsableRenderer(BrowsableAPIRenderer):
    """DRF's page, with the handler's example input in its forms."""

    def get_raw_data_form(
        self, data: Any, view: APIView, method: str, request: Request
    ) -> Form | None:
        """Return the form for a body, filled with an example."""
        form: Form | None = super().get_raw_data_form(data, view, method, request)
        doc = doc_of(view, method)
        if form is not None and doc is not None and not doc.query:
            example = msgspec.json.format(msgspec.json.encode(doc.form_example), indent=4)
            form.fields["_content"].initial = example.decode()
        return form

    def get_description(self, view: APIView, status_code: int) -> str:
        """Return the view's description with a form for the parameters of its GET."""
        description: str = super().get_description(view, status_code)
        doc = doc_of(view, "get")
        if doc is None or doc.input is None or not doc.query:
            return description
        return format_html("{}{}", description, query_form(doc))

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> str:
        """Render the page, and break the cycle that DRF's rendering leaves."""
        page: str = super().render(data, accepted_media_type, renderer_context)
        self.renderer_context = None
        return page


def query_form(doc: ApiDoc) -> SafeString:
    """Return an HTML form with one input per field of a GET."""
    assert doc.input is not None
    example = doc.example
    needed = {field.name for field in msgspec.structs.fields(doc.input) if field.required}
    needed |= set(doc.needs)
    inputs = format_html_join(
        " ",
        '<label>{} <input name="{}" value="{}"{}></label>',
        (
            (
                field.name,
                field.name,
                example.get(field.name, ""),
                " required" * (field.name in needed),
            )
            for field in msgspec.structs.fields(doc.input)
            if field.name not in doc.omits
        ),
    )
    return format_html(
        '<form method="get" class="form-inline">{} <button>GET</button></form>'
        "<script>document.currentScript.previousElementSibling.onsubmit = event => {{"
        "for (const input of event.target.querySelectorAll('input'))"
        " input.disabled = !input.value; }}</script>",
        inputs,
    )
