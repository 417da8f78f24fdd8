"""Webhooks of 3.x: create, list, change, delete, and the addresses that are refused. All point at this machine."""

from mlflow import MlflowClient

CLIENTS = (3,)


def run(note, server):
    from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent, WebhookStatus

    client = MlflowClient()
    created = WebhookEvent(WebhookEntity.MODEL_VERSION, WebhookAction.CREATED)
    alias = WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED)

    def shown(hook):
        return {
            "name": hook.name,
            "url": hook.url,
            "events": sorted(str(each) for each in hook.events),
            "description": hook.description,
            "status": str(hook.status),
            "secret": hook.secret,
        }

    note.attempt("made", lambda: shown(client.create_webhook("one", "https://127.0.0.1:9/hook", [created])))
    hook = client.create_webhook(
        "two", "https://127.0.0.1:9/two", [created, alias], "about", status=WebhookStatus.DISABLED
    )
    note("second", shown(hook))
    note("got", shown(client.get_webhook(hook.webhook_id)))
    note("changed", shown(client.update_webhook(hook.webhook_id, name="renamed", events=[alias])))
    note("enabled", shown(client.update_webhook(hook.webhook_id, status=WebhookStatus.ACTIVE)))
    for url in ("   ", "ftp://example.com", "http://[invalid", "https://", "nonsense", "https://127.0.0.1:9/other"):
        note.attempt(f"change to {url}", lambda u=url: shown(client.update_webhook(hook.webhook_id, url=u)))
        note.attempt(f"make with {url}", lambda u=url: shown(client.create_webhook("bad", u, [created])))
    for name in ("", "a b", "n" * 64, "-a", "a-", "a.b", "ä"):
        shown_name = name if len(name) < 20 else f"{len(name)} long"
        note.attempt(
            f"name {shown_name!r}", lambda n=name: shown(client.create_webhook(n, "https://127.0.0.1:9/", [created]))
        )
    note.attempt("no events", lambda: shown(client.create_webhook("none", "https://127.0.0.1:9/", [])))
    note.attempt("unknown", client.get_webhook, "nonexistent")
    note.attempt("change unknown", client.update_webhook, "nonexistent", name="x")
    note.attempt("delete unknown", client.delete_webhook, "nonexistent")
    page = client.list_webhooks(max_results=1)
    note("page", [len(page), bool(page.token)])
    note("next", len(client.list_webhooks(max_results=1, page_token=page.token)))
    for most in (0, -1, 1001):
        note.attempt(f"at most {most}", lambda m=most: len(client.list_webhooks(max_results=m)) > 0)
    for each in client.list_webhooks():
        client.delete_webhook(each.webhook_id)
    note("none left", len(client.list_webhooks()))
    note.attempt("deleted", client.get_webhook, hook.webhook_id)
