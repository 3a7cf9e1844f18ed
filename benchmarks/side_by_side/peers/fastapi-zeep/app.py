"""FastAPI with zeep, as their documentation sets them up: typed models, one client made at start, its session kept.

The endpoint is a plain function, which FastAPI runs in its threads: zeep's usual client blocks.
SERVICE (the HTTP service's address), WSDL; KEY, ISSUER, AUDIENCE where guards are on.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import aiohttp
import jwt
import requests
import xmltodict
import zeep
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from requests.adapters import HTTPAdapter
from slowapi import Limiter
from slowapi.middleware import SlowAPIASGIMiddleware
from slowapi.util import get_remote_address
from zeep.helpers import serialize_object
from zeep.transports import Transport

SERVICE = os.environ["SERVICE"]
KEY = os.environ.get("KEY", "")


class Line(BaseModel):
    Sku: str | None = None
    Description: str | None = None
    Quantity: int
    Price: Decimal
    Gift: bool


class ArrayOfOrderLine(BaseModel):
    OrderLine: list[Line] = []


class Order(BaseModel):
    Id: int
    Customer: str | None = None
    Placed: datetime
    Lines: ArrayOfOrderLine | None = None


class PlaceOrder(BaseModel):
    order: Order


session = requests.Session()
session.mount("http://", HTTPAdapter(pool_connections=4, pool_maxsize=40))  # as many as FastAPI has threads
client = zeep.Client(os.environ["WSDL"], transport=Transport(session=session))
orders = client.create_service("{http://tempuri.org/}OrdersSoap", f"http://{SERVICE}/Orders.asmx")


@asynccontextmanager
async def lifespan(app: FastAPI):
    async with aiohttp.ClientSession(f"http://{SERVICE}") as feed:
        app.state.feed = feed
        yield


bearer = HTTPBearer()
public = load_pem_public_key(Path(KEY).read_bytes()) if KEY else None


def claims(given: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> dict:
    try:
        return jwt.decode(
            given.credentials,
            public,
            algorithms=["ES256"],
            issuer=os.environ["ISSUER"],
            audience=os.environ["AUDIENCE"],
        )
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, str(error)) from None


app = FastAPI(lifespan=lifespan, dependencies=[Depends(claims)] if KEY else [])
if KEY:
    app.state.limiter = Limiter(key_func=get_remote_address, default_limits=["1000000/second"])
    app.add_middleware(SlowAPIASGIMiddleware)


@app.post("/soap/PlaceOrder")
def place_order(body: PlaceOrder) -> Order:
    return serialize_object(orders.PlaceOrder(order=body.order.model_dump()), dict)


@app.get("/xml/{race}")
async def feed(race: str, request: Request):
    async with request.app.state.feed.get(f"/feed/{race}") as answer:
        return xmltodict.parse(await answer.read())
