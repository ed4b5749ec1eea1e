// tour PROCESS_GUID
//
// Goes through what clients do: ping, domains, an LRP and its events, a filtered list, a refusal, a task. The server is that of
// BBS_URL; with https, CA_CERT_FILE, CLIENT_CERT_FILE and CLIENT_KEY_FILE name the files. What it has made it removes again.
package main

// --8<-- [start:tour]
import (
	"errors"
	"fmt"
	"os"
	"strings"

	"example.com/bbs/models"
)

const domain = "stubs"

func runAction(path string) *models.Action {
	return &models.Action{RunAction: &models.RunAction{Path: path, User: "vcap"}}
}

func desire(bbs *client, guid string) error {
	lrp := &models.DesiredLRP{
		ProcessGuid: guid,
		Domain:      domain,
		RootFs:      "preloaded:cflinuxfs4",
		Instances:   2,
		MemoryMb:    64,
		DiskMb:      128,
		LogGuid:     guid,
		MetricTags:  map[string]*models.MetricTagValue{"source_id": {Static: guid}},
		Action:      runAction("/bin/app"),
	}
	return bbs.call("/v1/desired_lrp/desire.r2", &models.DesireLRPRequest{DesiredLrp: lrp}, &models.DesiredLRPLifecycleResponse{})
}

func showEvents(bbs *client, guid string, count int) error {
	events, err := bbs.subscribe("/v1/events/lrp_instances.r1")
	if err != nil {
		return err
	}
	defer events.body.Close()
	if err := desire(bbs, guid); err != nil {
		return err
	}
	for ; count > 0; count-- {
		name, message, err := events.next()
		if err != nil {
			return err
		}
		switch event := message.(type) {
		case *models.DesiredLRPCreatedEvent:
			fmt.Println(name, event.GetDesiredLrp().GetProcessGuid())
		case *models.ActualLRPInstanceCreatedEvent:
			key := event.GetActualLrp().GetActualLrpKey()
			fmt.Printf("%s %s/%d\n", name, key.GetProcessGuid(), key.GetIndex())
		}
	}
	return nil
}

func showTasks(bbs *client) error {
	tasks := &models.TasksResponse{}
	err := bbs.call("/v1/tasks/list.r3", &models.TasksRequest{Domain: domain}, tasks)
	for _, task := range tasks.GetTasks() {
		said := fmt.Sprintf("task %s is %s %s", task.GetTaskGuid(), task.GetState(), task.GetFailureReason())
		fmt.Println(strings.TrimRight(said, " "))
	}
	return err
}

func goThroughTask(bbs *client, guid string) error {
	definition := &models.TaskDefinition{
		RootFs: "preloaded:cflinuxfs4", MemoryMb: 64, DiskMb: 128, Action: runAction("/bin/work"),
	}
	request := &models.DesireTaskRequest{TaskGuid: guid, Domain: domain, TaskDefinition: definition}
	err := bbs.call("/v1/tasks/desire.r2", request, &models.TaskLifecycleResponse{})
	if err == nil {
		err = showTasks(bbs)
	}
	for _, step := range []string{"cancel", "resolving", "delete"} {
		if err == nil {
			err = bbs.call("/v1/tasks/"+step, &models.TaskGuidRequest{TaskGuid: guid}, &models.TaskLifecycleResponse{})
		}
		if err == nil {
			err = showTasks(bbs)
		}
	}
	return err
}

func tour(bbs *client, guid string) error {
	ping := &models.PingResponse{}
	if err := bbs.call("/v1/ping", nil, ping); err != nil {
		return err
	}
	fmt.Println("available:", ping.GetAvailable())

	upsert, domains := &models.UpsertDomainRequest{Domain: domain, Ttl: 60}, &models.DomainsResponse{}
	if err := bbs.call("/v1/domains/upsert", upsert, &models.UpsertDomainResponse{}); err != nil {
		return err
	}
	if err := bbs.call("/v1/domains/list", nil, domains); err != nil {
		return err
	}
	fmt.Println("fresh:", strings.Join(domains.GetDomains(), " "))

	if err := showEvents(bbs, guid, 3); err != nil {
		return err
	}

	// An index of 0 is a filter, none is not: it is a field of its own, which is set or not.
	one := &models.ActualLRPsRequest{
		ProcessGuid: guid, OptionalIndex: &models.ActualLRPsRequest_Index{Index: 0},
	}
	found := &models.ActualLRPsResponse{}
	if err := bbs.call("/v1/actual_lrps/list", one, found); err != nil {
		return err
	}
	for _, lrp := range found.GetActualLrps() {
		key := lrp.GetActualLrpKey()
		fmt.Printf("%s/%d is %s\n", key.GetProcessGuid(), key.GetIndex(), lrp.GetState())
	}

	var refusal refused
	if err := desire(bbs, guid); errors.As(err, &refusal) {
		fmt.Printf("refused: %s: %s\n", refusal.said.GetType(), refusal.said.GetMessage())
	}

	if err := goThroughTask(bbs, guid); err != nil {
		return err
	}
	gone := &models.RemoveDesiredLRPRequest{ProcessGuid: guid}
	return bbs.call("/v1/desired_lrp/remove", gone, &models.DesiredLRPLifecycleResponse{})
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "tour PROCESS_GUID")
		os.Exit(2)
	}
	bbs, err := newClient(
		os.Getenv("BBS_URL"), os.Getenv("CA_CERT_FILE"), os.Getenv("CLIENT_CERT_FILE"), os.Getenv("CLIENT_KEY_FILE"),
	)
	if err == nil {
		err = tour(bbs, os.Args[1])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", os.Getenv("BBS_URL"), err)
		os.Exit(1)
	}
}

// --8<-- [end:tour]
