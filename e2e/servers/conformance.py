"""A server on the official Python SDK with what the scenarios of the conformance suite look for.

    conformance.py PORT session     # the session era alone, up to 2025-11-25
    conformance.py PORT stateless   # both eras; whoever can speaks 2026-07-28

Names, texts and arguments are those of `@modelcontextprotocol/conformance`.
"""

import asyncio
import base64
import json
import sys
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.server.mcpserver.resolve import Resolve, Sample
from mcp.server.mcpserver.tools import Tool
from mcp_types import (
    AudioContent,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

port, era = int(sys.argv[1]), sys.argv[2]

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="

# A schema whose keywords no model of Python's writes.
SCHEMA_2020 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def json_schema_2020_12_tool() -> str:
    """Has an input schema that uses JSON Schema 2020-12."""
    return "ok"


schema_tool = Tool.from_function(json_schema_2020_12_tool, structured_output=False)
schema_tool.parameters = SCHEMA_2020
server = MCPServer("conformance", version="1.0.0", log_level="ERROR", tools=[schema_tool])


def tool(function):
    return server.tool(structured_output=False)(function)


def text_of(uri, text, mime_type="text/plain"):
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(type="resource", resource=contents)


def said(text):
    return TextContent(type="text", text=text)


# Tools that answer at once, or say how far they are.


@tool
def test_simple_text() -> str:
    """Answers with text."""
    return "This is a simple text response for testing."


@tool
def test_image_content() -> list[ImageContent]:
    """Answers with an image."""
    return [ImageContent(type="image", data=PIXEL, mime_type="image/png")]


@tool
def test_audio_content() -> list[AudioContent]:
    """Answers with a sound."""
    return [AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]


@tool
def test_embedded_resource() -> list[EmbeddedResource]:
    """Answers with a resource."""
    return [text_of("test://embedded-resource", "This is an embedded resource content.")]


@tool
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Answers with text, an image and a resource."""
    data = text_of("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    image = ImageContent(type="image", data=PIXEL, mime_type="image/png")
    return [said("Multiple content types test:"), image, data]


@tool
async def test_tool_with_logging(ctx: Context) -> str:
    """Logs while it runs."""
    for step in ["Tool execution started", "Tool processing data", "Tool execution completed"]:
        await ctx.log("info", step)
        await asyncio.sleep(0.05)
    return "Tool with logging executed successfully"


@tool
async def test_logging_tool(ctx: Context) -> str:
    """Logs for whoever asked for logs."""
    await ctx.log("info", "Tool execution started")
    return "logged"


@tool
async def test_tool_with_progress(ctx: Context) -> str:
    """Says how far it is."""
    for done in [0, 50, 100]:
        await ctx.report_progress(done, 100, f"Completed step {done} of 100")
        await asyncio.sleep(0.05)
    return "Tool with progress executed successfully"


@tool
def test_error_handling() -> str:
    """Fails."""
    raise ToolError("This tool intentionally returns an error for testing")


@tool
def test_custom_headers(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Wants its argument in a header as well."""
    return region


@tool
async def test_trigger_tool_change(ctx: Context) -> str:
    """Says that the tools have changed."""
    await ctx.notify_tools_changed()
    return "told"


@tool
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Says that the prompts have changed."""
    await ctx.notify_prompts_changed()
    return "told"


# Tools of the session era that ask the client while they run.


class Username(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = Field(default="John Doe")
    age: int = Field(default=30)
    score: float = Field(default=95.5)
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = Field(default=True)


def titled(*names):
    return [{"const": name, "title": name.title()} for name in names]


OPTIONS = ["option1", "option2", "option3"]
VALUES = titled("value1", "value2", "value3")
LEGACY = {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}


class Choices(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": OPTIONS})
    titledSingle: str = Field(json_schema_extra={"oneOf": VALUES})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": OPTIONS}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": VALUES}})
    legacyEnum: str = Field(json_schema_extra=LEGACY)


async def elicited(ctx, message, schema):
    answer = await ctx.elicit(message=message, schema=schema)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"Elicitation completed: action={answer.action}, content={content}"


@tool
async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    message = SamplingMessage(role="user", content=said(prompt))
    answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {answer.content.text}"


@tool
async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the user."""
    return await elicited(ctx, message, Username)


@tool
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks the user, with defaults."""
    return await elicited(ctx, "Please review", Defaults)


@tool
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks the user to choose."""
    return await elicited(ctx, "Please choose", Choices)


# Tools and a prompt of the stateless era that want input before they answer.


def form(message, name, kind="string"):
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(prompt, max_tokens):
    messages = [SamplingMessage(role="user", content=said(prompt))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=messages, max_tokens=max_tokens))


ROOTS = ListRootsRequest()
NAME = form("What is your name?", "name")


def asks(requests, state=None):
    return InputRequiredResult(input_requests=requests, request_state=state)


def answered(ctx, *names):
    """Whether the client answered all of `names`."""
    return all(name in (ctx.input_responses or {}) for name in names)


@tool
async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Wants a name."""
    if not answered(ctx, "user_name"):
        return asks({"user_name": NAME})
    return f"Hello, {ctx.input_responses['user_name'].content['name']}!"


@tool
async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Wants the client's model."""
    if not answered(ctx, "capital_question"):
        return asks({"capital_question": sample("What is the capital of France?", 100)})
    return ctx.input_responses["capital_question"].content.text


@tool
async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Wants the client's roots."""
    if not answered(ctx, "client_roots"):
        return asks({"client_roots": ROOTS})
    return ", ".join(str(root.uri) for root in ctx.input_responses["client_roots"].roots)


@tool
async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Wants its state back."""
    if ctx.request_state != "confirming" or not answered(ctx, "confirm"):
        return asks({"confirm": form("Please confirm", "ok", "boolean")}, "confirming")
    return "state-ok"


@tool
async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Wants its state back as it was; the SDK sees to that."""
    if ctx.request_state != "confirming" or not answered(ctx, "confirm"):
        return asks({"confirm": form("Please confirm", "ok", "boolean")}, "confirming")
    return "state-ok"


@tool
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Wants everything at once."""
    if not answered(ctx, "user_name", "greeting", "client_roots"):
        requests = {"user_name": NAME, "greeting": sample("Generate a greeting", 50), "client_roots": ROOTS}
        return asks(requests, "asked")
    return "all there"


@tool
async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Wants one thing after the other."""
    if ctx.request_state == "second" and answered(ctx, "step2"):
        return "both there"
    if ctx.request_state == "first" and answered(ctx, "step1"):
        return asks({"step2": form("Step 2: What is your favorite color?", "color")}, "second")
    return asks({"step1": form("Step 1: What is your name?", "name")}, "first")


@tool
async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
    """Wants what the client said that it can do."""
    capabilities = ctx.client_capabilities
    requests = {}
    if capabilities and capabilities.elicitation:
        requests["user_name"] = NAME
    if capabilities and capabilities.sampling:
        requests["greeting"] = sample("Generate a greeting", 50)
    return asks(requests) if requests else "nothing to ask"


@tool
async def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Says how far it is, and wants a name."""
    await ctx.report_progress(1, 2)
    return f"Hello, {ctx.input_responses['user_name']}!" if answered(ctx, "user_name") else asks({"user_name": NAME})


def sampled() -> Sample:
    return Sample([SamplingMessage(role="user", content=said("Hello"))], max_tokens=10)


@tool
async def test_missing_capability(answer: Annotated[CreateMessageResult, Resolve(sampled)]) -> str:
    """Cannot do without the client's model; the SDK refuses who has none."""
    return answer.content.text


# Resources.


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(PIXEL)


@server.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    """A text that could change."""
    return "Watched resource content"


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    """A text for each id."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


# Prompts.


@server.prompt()
def test_simple_prompt() -> list[UserMessage]:
    """Without arguments."""
    return [UserMessage("This is a simple prompt for testing.")]


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """With two arguments."""
    return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
    """With a resource."""
    resource = text_of(resourceUri, "Embedded resource content for testing.")
    return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]


@server.prompt()
def test_prompt_with_image() -> list[UserMessage]:
    """With an image."""
    image = ImageContent(type="image", data=PIXEL, mime_type="image/png")
    return [UserMessage(image), UserMessage("Please analyze the image above.")]


@server.prompt()
async def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | InputRequiredResult:
    """Wants to know for what."""
    if not answered(ctx, "user_context"):
        return asks({"user_context": form("What context should the prompt use?", "context")})
    return [UserMessage(f"Context: {ctx.input_responses['user_context'].content['context']}")]


# What else is asked of a server.


@server.completion()
async def complete(reference, argument, context) -> Completion:
    values = [value for value in ["paris", "park", "party"] if value.startswith(argument.value)]
    return Completion(values=values, total=len(values), has_more=False)


async def done(ctx, params) -> EmptyResult:
    return EmptyResult()


lowlevel = server._lowlevel_server
lowlevel.add_request_handler("logging/setLevel", SetLevelRequestParams, done)
lowlevel.add_request_handler("resources/subscribe", SubscribeRequestParams, done)
lowlevel.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, done)


def session_only(app):
    """Refuses who speaks 2026-07-28, as a server does that was written before it."""

    async def refusing(scope, receive, send):
        headers = dict(scope.get("headers", []))
        if headers.get(b"mcp-protocol-version") != b"2026-07-28":
            return await app(scope, receive, send)
        error = {"code": -32600, "message": "Bad Request: Unsupported protocol version"}
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
        kind = (b"content-type", b"application/json")
        await send({"type": "http.response.start", "status": 400, "headers": [kind]})
        await send({"type": "http.response.body", "body": body})

    return refusing


app = server.streamable_http_app()
uvicorn.run(session_only(app) if era == "session" else app, host="127.0.0.1", port=port, log_level="warning")
