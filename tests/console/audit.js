// What is wrong with the page as it is shown now, for those who see little, hear it, or use no mouse: a list of
// sentences. Run in the page by the tests.

() => {
  const troubles = [];
  const shown = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true });
  const hidden = (node) => node.closest("[aria-hidden=true]");
  const about = (node) => node.outerHTML.slice(0, 120);
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

  /** Any CSS colour as red, green, blue, alpha. */
  function colour(text) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  }
  const over = (above, below) => [0, 1, 2].map((at) => above[at] * above[3] + below[at] * (1 - above[3])).concat(1);

  function background(node) {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.push(colour(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, above) => over(above, below), [255, 255, 255, 1]);
  }

  function luminance(rgb) {
    const [red, green, blue] = rgb.slice(0, 3).map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function contrast(one, other) {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  // Text has enough contrast (WCAG 1.4.3). Disabled controls and what is marked as decoration need none.
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !shown(node) || hidden(node) || node.closest(":disabled, .unseen, option, noscript")) continue;
    const style = getComputedStyle(node);
    const ground = background(node);
    const ratio = contrast(over(colour(style.color), ground), ground);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if (ratio < least) troubles.push(`contrast ${ratio.toFixed(2)} of “${walker.currentNode.data.trim().slice(0, 40)}” in ${about(node)}`);
  }

  // Fields can be told from what is around them (1.4.11), placeholders can be read.
  for (const field of document.querySelectorAll("input, select, textarea")) {
    if (!shown(field) || field.type === "checkbox" || field.closest(".composer, .model")) continue;
    const ratio = contrast(colour(getComputedStyle(field).borderTopColor), background(field.parentElement));
    if (ratio < 3) troubles.push(`contrast ${ratio.toFixed(2)} of the border of ${about(field)}`);
    const words = getComputedStyle(field, "::placeholder").color;
    if (field.placeholder && contrast(colour(words), background(field)) < 4.5) troubles.push(`placeholder of ${about(field)}`);
  }

  // Everything that can be used has a name (4.1.2), and can be reached.
  for (const node of document.querySelectorAll("button, a[href], input, select, textarea, summary, [tabindex='0'], [role=menuitem]")) {
    if (!shown(node) || hidden(node)) continue;
    const labelled = (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("");
    const labels = [...(node.labels ?? [])].map((label) => label.textContent).join("");
    const plain = /^(INPUT|SELECT|TEXTAREA)$/.test(node.tagName) ? "" : node.textContent;
    if (!(node.getAttribute("aria-label") || labelled || labels || plain).trim()) troubles.push(`no name: ${about(node)}`);
    const box = node.getBoundingClientRect();
    // Nothing that can be used is cut off by what is around it, unless it can be scrolled to.
    for (let at = node.closest(".skip") ? null : node.parentElement; at; at = at.parentElement) {
      const { overflowY } = getComputedStyle(at);
      if (overflowY === "auto" || overflowY === "scroll") break;
      const edge = at.getBoundingClientRect();
      if (overflowY === "hidden" && (box.bottom > edge.bottom + 1 || box.top < edge.top - 1)) troubles.push(`cut off: ${about(node)}`);
    }
    const inline = node.tagName === "A" || node.tabIndex === 0 && !/^(BUTTON|SUMMARY|SELECT)$/.test(node.tagName);
    if (!inline && Math.min(box.width, box.height) < 20) troubles.push(`too small to hit: ${about(node)}`);
  }

  for (const image of document.querySelectorAll("img:not([alt]), svg:not([aria-hidden=true], [aria-label])")) troubles.push(`no text for ${about(image)}`);
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) troubles.push(`two of ${id}`);
  for (const node of document.querySelectorAll("[aria-describedby], [aria-labelledby], [aria-controls]")) {
    for (const name of ["aria-describedby", "aria-labelledby", "aria-controls"]) {
      for (const id of (node.getAttribute(name) ?? "").split(" ").filter(Boolean)) {
        if (!document.getElementById(id)) troubles.push(`${name} of ${about(node)} leads nowhere`);
      }
    }
  }
  if (!document.documentElement.lang) troubles.push("no language");
  for (const landmark of ["header", "main"]) if (!document.querySelector(landmark)) troubles.push(`no ${landmark}`);
  if (document.documentElement.scrollWidth > innerWidth) troubles.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  for (const node of document.querySelectorAll("body *")) {
    const box = node.getBoundingClientRect();
    if (shown(node) && box.width && box.right > innerWidth + 1 && !node.closest("pre, .scroll, .code, .unseen, svg")) troubles.push(`beyond the edge: ${about(node)}`);
  }
  return [...new Set(troubles)];
}
