"""One page, to show that Django is there."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def hello(_request: HttpRequest) -> HttpResponse:
    """Say hello."""
    return HttpResponse("hello from Django")


urlpatterns = [path("hello", hello)]
