"""Tasks on time series: speech, weather, stock prices, medicine, and other measurements."""
