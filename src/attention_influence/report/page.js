// Filters the documents of the page by words, domain and list, and opens what matches. Without it all of them are there.
(() => {
  const form = document.querySelector("form.filter");
  if (!form) return;
  const nothing = document.querySelector("p.nothing");
  const documents = [...document.querySelectorAll("#reading article")];
  const texts = documents.map((one) => one.textContent.toLowerCase());

  function filter() {
    const words = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    documents.forEach((one, place) => {
      const isShown =
        (!form.domain.value || one.dataset.domain === form.domain.value) &&
        (!form.list.value || one.dataset.list === form.list.value) &&
        words.every((word) => texts[place].includes(word));
      one.hidden = !isShown;
      shown += isShown ? 1 : 0;
    });
    const isFiltered = words.length > 0 || form.domain.value !== "" || form.list.value !== "";
    for (const group of document.querySelectorAll("#reading .list, #reading .domain")) {
      group.hidden = !group.querySelector("article:not([hidden])");
      if (isFiltered && group.matches(".domain")) group.open = true;
    }
    form.querySelector(".shown").textContent = `${shown} of ${documents.length} documents`;
    nothing.hidden = shown > 0;
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter(); // a browser that goes back keeps what was typed
})();
