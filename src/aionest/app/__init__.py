"""The Streamlit app: ``aionest app``, or ``streamlit run`` on main.py."""
