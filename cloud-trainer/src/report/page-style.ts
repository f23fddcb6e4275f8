/** How the report looks, on a screen and on paper; fonts are the reader's own. */
export const STYLE = `:root{color-scheme:light}*{box-sizing:border-box}body{margin:0;font:16px/1.55 system-ui,"Hiragino Sans","Noto Sans JP",sans-serif;color:#1b1f24;background:#f4f6f8}
header{background:#12324f;color:#fff;padding:1.5rem max(1rem,calc((100% - 62rem)/2))}h1{margin:0;font-size:1.7rem}header p{margin:.3rem 0 0}
main{max-width:62rem;margin:0 auto;padding:1rem}section{background:#fff;border:1px solid #d5dce3;border-radius:8px;padding:1rem 1.25rem;margin:0 0 1rem}
h2{margin:.1rem 0 .7rem;font-size:1.2rem}h3{font-size:1rem}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.38rem .6rem;border-bottom:1px solid #e3e8ed;vertical-align:top}thead th{font-weight:600;background:#eef2f5}tbody th{font-weight:500}
.money td{text-align:right;font-variant-numeric:tabular-nums}.total{font-weight:700}.yes{color:#1c6b2a}.no{color:#a3231c}.open{color:#7a5200}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1rem}figure{margin:0}.frame{position:relative;display:block;background:#000;border-radius:6px;overflow:hidden}
.frame img{width:100%;display:block}.frame img+img{position:absolute;inset:0;height:100%;opacity:.75}figcaption{font-size:.85rem}small{color:#51606e;word-break:break-all}
.fields{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr) 7rem);gap:.35rem .7rem;align-items:center;margin-bottom:1rem}
input{font:inherit;width:100%;min-width:6.5rem;padding:.2rem .4rem;border:1px solid #8796a5;border-radius:4px;background:#fff;color:inherit}
svg{width:100%;max-width:46rem;height:auto;display:block}.grid{stroke:#dde3e9}.tick{font-size:11px;fill:#3d4853;dominant-baseline:middle}.axis{font-size:12px;fill:#1b1f24}.end{text-anchor:end}.middle{text-anchor:middle}
@media print{body{background:#fff}section{break-inside:avoid}}`;
