"""How figures look: their colors, letters and lines."""

# Okabe and Ito's palette, which every kind of color blindness leaves apart.
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    '#e69f00', '#56b4e9', '#009e73', '#0072b2', '#d55e00', '#cc79a7'
)  # fmt: skip
STYLE = {
    'axes.titlesize': 9,
    'figure.constrained_layout.use': True,
    'figure.dpi': 96,
    'font.size': 8,
    'image.interpolation': 'nearest',
    'legend.fontsize': 9,
    'legend.frameon': False,
    'lines.linewidth': 1.4,
}
# for names that a user gives, in which $ is no formula
PLAIN_STYLE = STYLE | {'text.parse_math': False}
