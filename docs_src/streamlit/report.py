"""Coroutines that write to the page of whoever called them."""

import asyncio

import streamlit as st

import aionest


async def report():
    st.write("working ...")  # to the caller's page
    await asyncio.sleep(0.1)
    st.write("done")


aionest.portal().call(report)
