// Pages are described by plain objects and brought into the document by `patch`, which changes only what differs. So whoever has
// the focus in a list, or has selected text in it, keeps both while the numbers around change. What has a `data-key` among its
// siblings stays the same element wherever it comes to stand. Text is always set as text: what guids and crash reasons contain
// can't become markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "rect"]);

/** An element: `h("p", { class: "soft" }, "text", ...)`. Children may be texts, numbers, elements, lists of these, or nothing. */
export function h(tag, attributes, ...children) {
  return { tag, attributes: attributes ?? {}, children: flat(children) };
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== "")
    .map((child) => (typeof child === "object" ? child : String(child)));
}

/** Make the children of `parent` what `wanted` describes. */
export function patch(parent, ...wanted) {
  const focused = document.activeElement;
  patchChildren(parent, flat(wanted));
  // An element that was moved has lost it.
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

function patchChildren(parent, children) {
  const wanted = new Set(children.map(keyOf));
  const keyed = new Map([...parent.childNodes].filter(isKeyed).map((node) => [node.dataset.key, node]));
  children.forEach((child, place) => {
    let old = parent.childNodes[place];
    while (isKeyed(old) && !wanted.has(old.dataset.key)) {
      old.remove();
      old = parent.childNodes[place];
    }
    const key = keyOf(child);
    if (old?.dataset?.key !== key) {
      const own = keyed.get(key) ?? document.createTextNode(""); // which becomes what it is to be
      parent.insertBefore(own, old ?? null);
      old = own;
    }
    keyed.delete(key);
    patchOne(parent, old, child);
  });
  while (parent.childNodes.length > children.length) parent.lastChild.remove();
}

const keyOf = (child) => child.attributes?.["data-key"];
const isKeyed = (node) => node?.dataset?.key !== undefined;

function patchOne(parent, old, child) {
  if (typeof child === "string") {
    if (old?.nodeType === Node.TEXT_NODE) {
      if (old.data !== child) old.data = child;
    } else put(parent, old, document.createTextNode(child));
    return;
  }
  let node = old;
  if (old?.localName !== child.tag) {
    node = SVG_TAGS.has(child.tag) ? document.createElementNS(SVG, child.tag) : document.createElement(child.tag);
    put(parent, old, node);
  }
  const { attributes } = child;
  for (const { name } of [...node.attributes]) {
    // Whether details are open is the reader's affair.
    if (!isGiven(attributes[name]) && !(name === "open" && child.tag === "details")) node.removeAttribute(name);
  }
  for (const [name, value] of Object.entries(attributes)) {
    const text = value === true ? "" : String(value);
    if (isGiven(value) && node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
  patchChildren(node, child.children);
}

function isGiven(value) {
  return value !== undefined && value !== null && value !== false;
}

function put(parent, old, node) {
  if (old) old.replaceWith(node);
  else parent.append(node);
}
