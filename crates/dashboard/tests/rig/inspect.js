// What is wrong with the page that is shown, for readers who see little, hear it, or have no mouse. Run in the
// page by tests/readable.rs; returns sentences.
const wrong = [];
const shown = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
const short = (text) => text.trim().replace(/\s+/g, " ").slice(0, 40);

// Contrast: every text on the colours behind it, 4.5 to 1 (WCAG 2, AA).
const parse = (colour) => {
  const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
};
const over = (top, below) => {
  const mix = (name) => top[name] * top.a + below[name] * (1 - top.a);
  return { r: mix("r"), g: mix("g"), b: mix("b"), a: 1 };
};
const behind = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    layers.push(colour);
    if (colour.a === 1) break;
  }
  return layers.reverse().reduce((below, top) => over(top, below), parse(getComputedStyle(document.documentElement).backgroundColor === "rgba(0, 0, 0, 0)" ? "rgb(255, 255, 255)" : getComputedStyle(document.documentElement).backgroundColor));
};
const luminance = ({ r, g, b }) => {
  const linear = (part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
};
const check = (colour, element, what) => {
  const ground = behind(element);
  const [light, dark] = [luminance(over(parse(colour), ground)), luminance(ground)].sort((a, b) => b - a);
  const contrast = (light + 0.05) / (dark + 0.05);
  if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(2)} of ${what} (${colour})`);
};
let texts = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const element = node.parentElement;
  if (!node.data.trim() || element.matches("script, option") || !shown(element)) continue;
  const style = getComputedStyle(element);
  check(element instanceof SVGElement ? style.fill : style.color, element, `“${short(node.data)}”`);
  texts += 1;
}
if (texts < 10) wrong.push(`only ${texts} texts were looked at`);
for (const field of document.querySelectorAll("input, select, textarea")) {
  if (!shown(field)) continue;
  check(getComputedStyle(field).color, field, `the field ${field.name}`);
  if (field.placeholder) check(getComputedStyle(field, "::placeholder").color, field, `the hint in ${field.name}`);
}
for (const cell of document.querySelectorAll("td[data-label]")) {
  const label = getComputedStyle(cell, "::before");
  if (shown(cell) && label.content !== "none") check(label.color, cell, `the label ${cell.dataset.label}`);
}

// Structure: one heading of the page and none skipped, landmarks, labels.
const count = (selector, many) => {
  const found = document.querySelectorAll(selector).length;
  if (found !== many) wrong.push(`${found} of ${selector}, not ${many}`);
};
count("h1", 1);
count("main", 1);
count("main h1", 1);
count("header nav[aria-label]", 1);
count("html[lang]", 1);
let level = 0;
for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
  const own = Number(heading.tagName[1]);
  if (own > level + 1) wrong.push(`a heading is skipped before “${short(heading.textContent)}”`);
  level = own;
}
if (document.title.length < 10) wrong.push("no title");
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
if (new Set(ids).size !== ids.length) wrong.push("an id is there twice");
for (const image of document.querySelectorAll("img:not([alt])")) wrong.push(`no alt: ${image.src}`);
for (const control of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
  const labels = [...(control.labels ?? [])].map((label) => label.textContent).join(" ");
  const images = [...control.querySelectorAll("img")].map((image) => image.alt).join(" ");
  const own = control.matches("input, select, textarea") ? "" : control.textContent;
  const name = control.ariaLabel ?? labels + own + images;
  if (!name.trim()) wrong.push(`no name: ${control.outerHTML.slice(0, 80)}`);
}
if (document.documentElement.scrollWidth > innerWidth) {
  const wide = [...document.querySelectorAll("main *")].find((one) => one.getBoundingClientRect().right > innerWidth + 1);
  wrong.push(`wider than the screen: ${wide?.outerHTML.slice(0, 80)}`);
}
return wrong;
