"""Tasks on series of numbers: speech, weather, stock, medicine, and other measurements."""
