"""The report as one HTML page that needs no network."""

from .page import write_page as write_page
