"""The page around a report: one file, nothing fetched, light and dark, wide and narrow."""

from collections.abc import Sequence
from typing import NamedTuple

from auricle.drawing import clean, stylesheet
from auricle.drawing.colours import ROLES


class Section(NamedTuple):
    name: str  # of its anchor
    title: str
    body: str  # HTML


def page(title: str, facts: Sequence[str], sections: Sequence[Section]) -> str:
    """A whole HTML document.

    Args:
        title: plain text.
        facts: plain text, lines below the title.
        sections: in their order; their bodies are HTML already.
    """
    links = "".join(f'<a href="#{s.name}">{clean(s.title)}</a>' for s in sections)
    lines = "".join(f"<p>{clean(fact)}</p>" for fact in facts)
    body = "".join(
        f'<section id="{s.name}"><h2>{clean(s.title)}</h2>{s.body}</section>' for s in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{clean(title)}</title><style>{_variables()}{_CSS}{stylesheet()}</style></head>\n"
        f'<body><a class="skip" href="#summary">Skip to the figures</a><header><h1>{clean(title)}'
        f'</h1><div class="facts">{lines}</div><nav aria-label="Sections">{links}</nav></header>\n'
        f"<main>{body}</main><script>{_SCRIPT}</script></body></html>\n"
    )


def _variables() -> str:
    light, dark = (
        "".join(f"--{role}:{colours[theme]};" for role, colours in ROLES.items())
        for theme in (0, 1)
    )
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
    )


_CSS = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
header,main{max-width:980px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.6rem 0 .8rem;padding-top:.6rem;border-top:1px solid var(--faint)}
h3{font-size:1rem;margin:0;overflow-wrap:anywhere}
.facts p{margin:0;color:var(--soft);overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin-top:1rem}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:8px;top:8px;background:var(--paper);padding:.3rem .6rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px}
.card{background:var(--panel);border:1px solid var(--faint);border-radius:10px;padding:14px 16px}
.card span{display:block;color:var(--soft);font-size:.9rem}
.card .name{color:var(--ink)}
.card b{font-size:2rem;line-height:1.3;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto;margin:1.2rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
caption{text-align:left;font-weight:600;padding:.2rem 0 .5rem}
th,td{text-align:right;padding:.28rem .7rem;border-bottom:1px solid var(--faint);
white-space:nowrap}
td svg{display:block}
thead th{color:var(--soft);font-weight:500;vertical-align:bottom}
th:first-child{text-align:left;padding-left:0;font-weight:500;max-width:22rem;overflow:hidden;
text-overflow:ellipsis}
.side{display:flex;flex-wrap:wrap;gap:0 3rem;align-items:flex-start}
article{margin:0 0 2.4rem;padding:14px 16px;border:1px solid var(--faint);border-radius:10px}
article p{margin:.4rem 0;overflow-wrap:anywhere}
.soft{color:var(--soft);font-size:.92rem}
del{color:var(--soft)}
ins{color:var(--bad);text-decoration-thickness:2px;text-underline-offset:3px}
audio{width:100%;max-width:520px;height:40px;margin:.3rem 0}
figure{margin:.4rem 0 0}
figcaption{color:var(--soft);font-size:.85rem}
.drawn{overflow-x:auto}
.time,.still{position:relative;min-width:680px}
.time svg,.still svg,.chart svg{display:block;width:100%;height:auto}
.head{position:absolute;top:0;bottom:0;width:2px;background:var(--second);visibility:hidden}
.chart{max-width:720px;min-width:520px}
dl{display:grid;grid-template-columns:auto 1fr;gap:.15rem .9rem;margin:.4rem 0 1rem}
h3+dl{margin-top:.6rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:600px){header,main{padding:0 14px}article{padding:12px 10px}}
@media print{audio,nav,.skip{display:none}article{break-inside:avoid}}
"""

# Shows where the player is, and goes where the picture is clicked.
_SCRIPT = """
for(const box of document.querySelectorAll('.time')){
const sound=box.closest('article').querySelector('audio'),head=box.querySelector('.head');
const left=+box.dataset.left,wide=+box.dataset.wide,seconds=+box.dataset.seconds;
const show=()=>{head.style.visibility='visible';
head.style.left=100*(left+wide*Math.min(1,sound.currentTime/seconds))+'%';
if(!sound.paused)requestAnimationFrame(show)};
sound.addEventListener('play',show);sound.addEventListener('seeked',show);
box.addEventListener('click',e=>{const r=box.getBoundingClientRect();
const at=((e.clientX-r.left)/r.width-left)/wide;
if(at>=0&&at<=1)sound.currentTime=at*seconds})}
"""
