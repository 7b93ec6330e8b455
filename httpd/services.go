package httpd

import (
	"encoding/json"
	"strings"

	"github.com/valyala/fasthttp"

	"carillon/runtime"
)

type domainServices struct {
	Domain   string                        `json:"domain"`
	Services map[string]serviceDescription `json:"services"`
}

type serviceDescription struct {
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Fields      map[string]any `json:"fields"`
	Target      *serviceTarget `json:"target,omitempty"`
}

// serviceTarget says, as Home Assistant does, that the service is for entities
// of certain domains, and names those that there are.
type serviceTarget struct {
	Entity []struct {
		Domain []string `json:"domain"`
	} `json:"entity"`
	EntityIDs []string `json:"entity_id"`
}

func (s *Server) getServices(c *call) error {
	list := []domainServices{}
	for _, info := range s.Runtime.Services() {
		if len(list) == 0 || list[len(list)-1].Domain != info.Domain {
			list = append(list, domainServices{Domain: info.Domain, Services: map[string]serviceDescription{}})
		}
		list[len(list)-1].Services[info.Name] = describeService(info)
	}
	return writeJSON(c, list)
}

func describeService(info runtime.ServiceInfo) serviceDescription {
	d := serviceDescription{Name: info.Name, Description: info.Description, Fields: map[string]any{}}
	if len(info.Entities) == 0 {
		return d
	}
	d.Target = &serviceTarget{EntityIDs: info.Entities}
	var domains []string
	for _, id := range info.Entities { // sorted, so equal domains are neighbours
		if domain := runtime.Domain(id); len(domains) == 0 || domains[len(domains)-1] != domain {
			domains = append(domains, domain)
		}
	}
	d.Target.Entity = append(d.Target.Entity, struct {
		Domain []string `json:"domain"`
	}{domains})
	return d
}

// serviceRoute takes <domain>/<service> only.
func (s *Server) serviceRoute(rest string) *route {
	domain, name, ok := strings.Cut(rest, "/")
	if !ok || domain == "" || name == "" || strings.Contains(name, "/") {
		return &route{path: "/api/services/*", missing: func(s *Server, c *call) error { return s.routes.notFound(string(c.Path())) }}
	}
	return &route{path: "/api/services/*", post: (*Server).postService}
}

// postService runs a command and answers with the states that it changed, once
// all of it is visible. The context of the command belongs to whoever called.
func (s *Server) postService(c *call) error {
	domain, name, _ := strings.Cut(c.rest, "/")
	data, err := optionalObject(c, "Service data")
	if err != nil {
		return err
	}
	ctx, cancel := c.patience()
	defer cancel()
	result, err := s.Runtime.Call(ctx, runtime.Command{
		Domain: domain, Service: name, Data: data, Origin: runtime.Remote, Context: c.story(), Source: source,
	})
	if err != nil {
		return err
	}
	if !c.QueryArgs().Has("return_response") {
		writeStates(c, result.Changed)
		return nil
	}
	response := result.Response
	if response == nil {
		response = json.RawMessage("{}")
	}
	body := appendStates([]byte(`{"changed_states":`), result.Changed)
	body = append(body, `,"service_response":`...)
	body = append(body, response...)
	c.SetContentType("application/json")
	c.SetBody(append(body, '}'))
	return nil
}

func writeJSON(c *call, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.SetContentType("application/json")
	c.SetStatusCode(fasthttp.StatusOK)
	c.SetBody(body)
	return nil
}
