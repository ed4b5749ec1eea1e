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
  if (children.some(isKeyed) || [...parent.children].some((node) => keys.has(node))) settle(parent, children);
  children.forEach((child, place) => patchOne(parent, parent.childNodes[place], child));
  while (parent.childNodes.length > children.length) parent.lastChild.remove();
}

const keys = new WeakMap(); // of elements that have one
const keyOf = (child) => child.attributes?.["data-key"];
const isKeyed = (child) => keyOf(child) !== undefined;

/** Have each element that has a key stand where it is wanted, and something without a key wherever it is not one of those. */
function settle(parent, children) {
  const wanted = new Set(children.map(keyOf));
  const own = new Map();
  for (const node of [...parent.children]) {
    if (!keys.has(node)) continue;
    if (wanted.has(keys.get(node))) own.set(keys.get(node), node);
    else node.remove();
  }
  let old = parent.firstChild;
  for (const child of children) {
    const key = keyOf(child);
    if (old && keys.get(old) === key) {
      old = old.nextSibling;
    } else {
      const node = own.get(key) ?? document.createTextNode(""); // which becomes what it is to be
      parent.insertBefore(node, old);
    }
    own.delete(key);
  }
}

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
  if (isKeyed(child)) keys.set(node, keyOf(child));
  patchChildren(node, child.children);
}

function isGiven(value) {
  return value !== undefined && value !== null && value !== false;
}

function put(parent, old, node) {
  if (old) old.replaceWith(node);
  else parent.append(node);
}
