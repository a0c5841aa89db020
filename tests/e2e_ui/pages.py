"""Airflow's pages: how to use them in each version. The tests assert what the pages must show."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect


def picture(file: Path, page: Page, *shown: Locator) -> None:
    """Take a picture for the documentation that contains only the given elements."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.wait_for_timeout(500)  # until animations end; no test depends on it
    boxes = [box for box in (element.bounding_box() for element in shown) if box]
    left, top = (min(box[side] for box in boxes) for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes)
    bottom = max(box["y"] + box["height"] for box in boxes)
    clip: Any = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    file.parent.mkdir(exist_ok=True)
    page.screenshot(path=file, clip=clip, full_page=True, animations="disabled")


@dataclass
class Airflow3Pages:
    """The pages of Airflow 3.

    :param page: browser tab.
    :param address: URL of Airflow.
    """

    page: Page
    address: str

    def sign_in(self, password: str) -> None:
        """Sign in as admin."""
        self.page.goto(f"{self.address}/connections")
        self.page.get_by_label("Username").fill("admin")
        self.page.locator("input[type=password]").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "/auth/login" not in url)

    def open_form(self) -> None:
        """Open an empty form."""
        self.page.goto(f"{self.address}/connections")
        self.page.get_by_role("button", name="Add Connection").click()
        expect(self.form).to_be_visible()

    @property
    def form(self) -> Locator:
        """The complete form."""
        return self.page.get_by_role("dialog")

    def types(self) -> list[str]:
        """Return the available connection types."""
        self.form.get_by_role("combobox").click()
        options = self.page.get_by_role("option")
        expect(options.first).to_be_visible()
        return options.all_inner_texts()

    def choose_type(self, name: str) -> None:
        """Choose a connection type."""
        self.form.get_by_role("combobox").click()
        self.page.get_by_role("option", name=name, exact=True).click()
        expect(self.form.get_by_text("Standard Fields")).to_be_visible()

    def standard_fields(self) -> list[str]:
        """Return the labels of the visible standard fields."""
        open_part = self.form.locator(
            "[data-part=item-content][data-state=open], [data-part=item-content]:visible"
        )
        expect(open_part.first).to_be_visible()
        return [label.strip() for label in open_part.first.locator("label").all_inner_texts()]

    def placeholder_of_host(self) -> str | None:
        """Return the placeholder of the host field."""
        return self.form.locator("[name=host]").get_attribute("placeholder")

    def extra_fields(self) -> dict[str, tuple[str, str]]:
        """Return label and help text of each extra by its name."""
        self.form.get_by_text("Extra Fields", exact=True).click()
        inputs = self.form.locator("[name^=element_]")
        expect(inputs.first).to_be_visible()
        found = {}
        for field_input in inputs.all():
            # The `for` of a label does not help: it is correct only for number fields.
            name = field_input.get_attribute("name") or ""
            field = self.form.locator("[data-scope=field][data-part=root]").filter(
                has=self.page.locator(f"[name={name}]")
            )
            label, text = (word.strip() for word in field.inner_text().split("\n") if word.strip())
            found[name.removeprefix("element_")] = (label, text)
        return found

    def fill(self, conn_id: str, host: str, access_key: str, secret_key: str) -> None:
        """Fill in an empty form."""
        self.form.locator("[name=connection_id]").fill(conn_id)
        self.choose_type("Flowroute")
        for label, value in (("API URL", host), ("Access Key", access_key), ("Secret Key", secret_key)):
            self.form.get_by_label(label).fill(value)

    def set_extra(self, name: str, value: str) -> None:
        """Fill in an extra field."""
        self.form.get_by_text("Extra Fields", exact=True).click()
        self.form.locator(f"[name=element_{name}]").fill(value)
        self.form.locator(f"[name=element_{name}]").blur()

    def save(self) -> None:
        """Save the form and wait until it closes."""
        self.form.get_by_role("button", name="Save").click()
        expect(self.form).to_be_hidden()

    def test_from_list(self, conn_id: str) -> str:
        """Press the Test icon in a connection's row.

        :return: the text of the message that appears.
        """
        self.page.goto(f"{self.address}/connections")
        self.row(conn_id).get_by_role("button", name="Test Connection").click()
        expect(self.message).to_be_visible()
        return self.message.inner_text()

    def row(self, conn_id: str) -> Locator:
        """A connection's row in the list."""
        return self.page.get_by_role("row").filter(has=self.page.get_by_text(conn_id, exact=True))

    def open_task(self, dag_id: str, run_id: str, task_id: str, tab: str) -> None:
        """Open the page of a task of a run. Without a tab it shows the log."""
        self.page.goto(f"{self.address}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{tab}")

    def open_graph(self, dag_id: str, run_id: str, tasks: Collection[str]) -> None:
        """Open the graph of a run, and wait until it shows the tasks."""
        self.page.goto(f"{self.address}/dags/{dag_id}/runs/{run_id}")
        self.page.get_by_role("button", name="Show Graph").click()
        for task in tasks:
            expect(self.page.locator(".react-flow__node").filter(has_text=task).first).to_be_visible()

    @property
    def message(self) -> Locator:
        """The message that appears after a test."""
        return self.page.locator("[data-scope=toast][data-part=root]").last


@dataclass
class Airflow2Pages:
    """The pages of Airflow 2.

    :param page: browser tab.
    :param address: URL of Airflow.
    """

    page: Page
    address: str

    def sign_in(self, password: str) -> None:
        """Sign in as admin."""
        self.page.goto(f"{self.address}/login/")
        self.page.locator("#username").fill("admin")
        self.page.locator("#password").fill(password)
        self.page.locator("input[type=submit]").click()
        self.page.wait_for_url(lambda url: "/login" not in url)

    def open_form(self) -> None:
        """Open an empty form."""
        self.page.goto(f"{self.address}/connection/add")
        expect(self.page.locator("#conn_id")).to_be_visible()

    @property
    def form(self) -> Locator:
        """The complete form."""
        return self.page.locator("#model_form")

    def types(self) -> list[str]:
        """Return the available connection types."""
        return self.page.locator("#conn_type option").all_inner_texts()

    def choose_type(self, name: str) -> None:
        """Choose a connection type."""
        self.page.locator("#conn_type + .select2 .select2-selection").click()
        self.page.locator(".select2-results__option").get_by_text(name, exact=True).click()
        expect(self.page.locator("[id^=extra__flowroute__]").first).to_be_visible()

    def standard_fields(self) -> list[str]:
        """Return the labels of the visible standard fields."""
        labels = [
            self.form.locator(f"label[for={name}]:visible")
            for name in ("description", "host", "schema", "login", "password", "port")
        ]
        return [label.inner_text().strip() for label in labels if label.count()]

    def placeholder_of_host(self) -> str | None:
        """Return the placeholder of the host field."""
        return self.page.locator("#host").get_attribute("placeholder")

    def extra_fields(self) -> dict[str, tuple[str, str]]:
        """Return label and help text of each extra by its name."""
        found = {}
        for field_input in self.form.locator("[id^=extra__flowroute__]:visible").all():
            name = field_input.get_attribute("id") or ""
            row = self.form.locator("tr").filter(has=self.page.locator(f"#{name}"))
            words = row.inner_text().split("\n")
            label, text = (word.strip() for word in words if word.strip())
            found[name.removeprefix("extra__flowroute__")] = (label, text)
        return found

    def fill(self, conn_id: str, host: str, access_key: str, secret_key: str) -> None:
        """Fill in an empty form."""
        self.page.locator("#conn_id").fill(conn_id)
        self.choose_type("Flowroute")
        for name, value in (("host", host), ("login", access_key), ("password", secret_key)):
            self.page.locator(f"#{name}").fill(value)

    def set_extra(self, name: str, value: str) -> None:
        """Fill in an extra field."""
        self.page.locator(f"#extra__flowroute__{name}").fill(value)

    def save(self) -> None:
        """Save the form and wait until it closes."""
        self.form.get_by_role("button", name=re.compile("Save")).click()
        self.page.wait_for_url(lambda url: "/connection/add" not in url)

    def test_in_form(self) -> str:
        """Press the Test button of the form.

        :return: the text of the message that appears.
        """
        before = self.message.inner_text() if self.message.count() else ""
        self.page.locator("#test-connection").click()
        expect(self.message).not_to_have_text(before or re.compile("^$"))
        return self.message.inner_text()

    def open_task(self, dag_id: str, run_id: str, task_id: str, tab: str) -> None:
        """Open the page of a task of a run."""
        self.page.goto(f"{self.address}/dags/{dag_id}/grid?dag_run_id={run_id}&task_id={task_id}&tab={tab}")

    @property
    def message(self) -> Locator:
        """The message that appears after a test."""
        return self.page.locator(".container .alert").first
