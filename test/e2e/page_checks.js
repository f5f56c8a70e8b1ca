// Runs in the page: what a reader could not read. The result is the text of #findings as JSON.
(() => {
  const findings = [];
  const name = (element) => `<${element.tagName} id="${element.id}" class="${
      element.getAttribute('class') || ''}"> ${element.textContent.trim().slice(0, 40)}`;
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (front, back) => front.slice(0, 3).map((c, i) => c * front[3] + back[i] * (1 - front[3]));
  const luminance = (color) => {
    const [r, g, b] = color.map((c) => c / 255).map(
        (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const page = rgba(getComputedStyle(document.body).backgroundColor);
  const bar = rgba(getComputedStyle(document.documentElement).getPropertyValue('--bar'));
  const backgrounds = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement)
      layers.unshift(rgba(getComputedStyle(at).backgroundColor));
    const flat = layers.reduce((back, front) => over(front, back), page.slice(0, 3));
    return element.closest('.bar') ? [flat, over(bar, flat)] : [flat];
  };
  let texts = 0;
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(
        (node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || element.tagName === 'SCRIPT' || element.tagName.toLowerCase() === 'title')
      continue;
    ++texts;
    const style = getComputedStyle(element);
    const color = rgba(element.namespaceURI.endsWith('svg') ? style.fill : style.color);
    for (const background of backgrounds(element))
      if (contrast(color.slice(0, 3), background) < 4.5)
        findings.push(`contrast ${contrast(color.slice(0, 3), background).toFixed(2)}: ${name(element)}`);
  }
  for (const svg of document.querySelectorAll('svg')) {
    const box = svg.getBoundingClientRect();
    for (const shape of svg.querySelectorAll('path, circle, text')) {
      const inner = shape.getBoundingClientRect();
      if (inner.left < box.left - 1 || inner.right > box.right + 1 || inner.top < box.top - 1 ||
          inner.bottom > box.bottom + 1)
        findings.push(`outside of its picture: ${name(shape)}`);
    }
  }
  if (document.documentElement.scrollWidth > window.innerWidth)
    findings.push(`the page is ${document.documentElement.scrollWidth} wide in a window of ${window.innerWidth}`);
  for (const cell of document.querySelectorAll('td, th'))
    if (cell.scrollWidth > cell.clientWidth + 1)
      findings.push(`text runs out of its cell: ${name(cell)}`);
  const strongest = [...document.querySelectorAll('.heat')].filter(
      (cell) => Number(cell.style.getPropertyValue('--part')) === 1);
  const result = document.createElement('pre');
  result.id = 'findings';
  result.textContent = JSON.stringify({findings, texts, strongest: strongest.length,
    dark: matchMedia('(prefers-color-scheme: dark)').matches, width: window.innerWidth});
  document.body.append(result);
})();
