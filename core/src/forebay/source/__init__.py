"""The typed WebhookSource. Every name a manifest may hold is in these modules, and the CRD is made from them."""

from forebay.source.spec import API_VERSION, GROUP, KIND, VERSION, Metadata, Spec, WebhookSource

__all__ = ["API_VERSION", "GROUP", "KIND", "VERSION", "Metadata", "Spec", "WebhookSource"]
